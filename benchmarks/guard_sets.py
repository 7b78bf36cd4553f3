"""The labelled sets that the guardrails are measured on; the classifier has learnt from none of them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT
from benchmarks.public_data import AbsentDataError, public_data

EVAL = ROOT / "data" / "seed" / "eval"
PLACES = ("start", "middle", "end")


@dataclass(frozen=True)
class PromptSet:
    """Requests that should all be refused (`harmful`), or all be answered."""

    name: str
    harmful: bool
    texts: tuple[str, ...]


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and whether each is of the kind that a classifier should know."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[bool, ...]


@dataclass(frozen=True)
class Injection:
    """A BIPIA document with an instruction in it (Yi et al. 2023), and the document as it was."""

    clean: str
    attack: str
    place: str

    @property
    def text(self) -> str:
        """Return the document with the attack as lines of its own at its place."""
        lines = self.clean.split("\n")
        at = {"start": 0, "middle": len(lines) // 2, "end": len(lines)}[self.place]
        return "\n".join([*lines[:at], self.attack, *lines[at:]])


def prompt_sets() -> list[PromptSet]:
    """Return the sets that are on this machine; of those that are not, a line is printed."""
    return list(filter(None, map(_present, PROMPT_SETS)))


def labelled_texts() -> list[LabelledTexts]:
    """Return the sets for moderation that are on this machine."""
    return list(filter(None, map(_present, LABELLED)))


def injections() -> list[Injection]:
    """Return BIPIA's mails with text attacks and its code questions with code attacks, at three places.

    Raises:
        AbsentDataError: BIPIA is not on this machine.
    """
    home = public_data("safety/bipia")
    mails = [str(row["context"]) for row in _jsonl(home / "email_train.jsonl")]
    code = ["\n".join(row["context"]) for row in _jsonl(home / "code_train.jsonl")]
    cases = []
    for documents, attacks in ((mails, "text_attack_train.json"), (code, "code_attack_train.json")):
        wanted = [attack for each in json.loads((home / attacks).read_text()).values() for attack in each]
        cases += [(document, attack) for document in documents for attack in wanted]
    return [Injection(document, attack, PLACES[i % len(PLACES)]) for i, (document, attack) in enumerate(cases)]


def _seed_jailbreaks() -> PromptSet:
    return PromptSet("seed jailbreak", True, _texts(EVAL / "jailbreak.jsonl", "prompt"))


def _advbench() -> PromptSet:
    rows = _csv(public_data("safety/advbench") / "harmful_behaviors_with_targets.csv")
    return PromptSet("AdvBench", True, tuple(row["goal"] for row in rows))


def _seed_benign() -> PromptSet:
    return PromptSet("seed benign", False, _texts(EVAL / "benign.jsonl", "prompt"))


def _seed_questions() -> PromptSet:
    return PromptSet("seed questions", False, _texts(EVAL / "questions.jsonl", "question"))


def _awesome() -> PromptSet:
    path = public_data("safety/awesome_chatgpt_prompts") / "prompts_dev.jsonl"
    return PromptSet("awesome-chatgpt-prompts", False, _texts(path, "prompt"))


def _dolly() -> PromptSet:
    path = public_data("chat/dolly_subsets") / "dolly_top100.jsonl"
    return PromptSet("Dolly, top 100", False, _texts(path, "instruction"))


def _oasst() -> PromptSet:
    rows = _jsonl(public_data("chat/oasst2_filtered_openpaws") / "oasst2_filtered.jsonl")
    return PromptSet("OASST2, English", False, tuple(r["prompt"]["text"] for r in rows if r["prompt"]["lang"] == "en"))


def _roleplay() -> PromptSet:
    path = public_data("chat/gpteacher") / "Roleplay_roleplay-simple-deduped-roleplay-instruct.json"
    return PromptSet("GPTeacher role play", False, tuple(row["instruction"] for row in json.loads(path.read_text())))


def _ifeval() -> PromptSet:
    return PromptSet("IFEval", False, _texts(public_data("benchmarks/ifeval") / "input_data.jsonl", "prompt"))


def _red_team() -> PromptSet:
    """Return first turns of HH-RLHF's red-team conversations; not every one of them is harmful by itself."""
    with gzip.open(public_data("preferences/hh-rlhf") / "harmless-base_test.jsonl.gz", "rt", encoding="utf-8") as file:
        first = {json.loads(line)["chosen"].split("\n\nHuman: ")[1].split("\n\nAssistant:")[0] for line in file}
    return PromptSet("HH-RLHF red team, unseen", True, tuple(sorted(first)))


def _mt_bench() -> PromptSet:
    rows = _jsonl(public_data("judge/mt_bench") / "mt_bench_question.jsonl")
    return PromptSet("MT-Bench, unseen", False, tuple(row["turns"][0] for row in rows))


def _truthful() -> PromptSet:
    rows = _csv(public_data("benchmarks/truthfulqa") / "TruthfulQA.csv")
    return PromptSet("TruthfulQA, unseen", False, tuple(row["Question"] for row in rows))


def _openai_moderation() -> LabelledTexts:
    with gzip.open(public_data("safety/openai_moderation") / "samples-1680.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    marks = ("S", "H", "V", "HR", "SH", "S3", "H2", "V2")
    labels = tuple(any(row.get(mark) == 1 for mark in marks) for row in rows)
    return LabelledTexts("OpenAI moderation", tuple(row["prompt"] for row in rows), labels)


def _davidson() -> LabelledTexts:
    rows = _csv(public_data("safety/davidson_hate") / "labeled_data.csv")
    return LabelledTexts("Davidson: hate or offence", *_split((row["tweet"], row["class"] != "2") for row in rows))


def _advbench_strings() -> LabelledTexts:
    harmful = [row["target"] for row in _csv(public_data("safety/advbench") / "harmful_strings.csv")]
    path = public_data("chat/dolly_subsets") / "dolly_top100.jsonl"
    pairs = [(text, True) for text in harmful] + [(text, False) for text in _texts(path, "response")]
    return LabelledTexts("AdvBench strings, Dolly replies", *_split(pairs))


def _gptfuzz() -> LabelledTexts:
    rows = _csv(public_data("safety/gptfuzz_labelled_responses") / "train.csv")
    return LabelledTexts("GPTFuzz replies", *_split((row["Response"], row["label"] == "1") for row in rows))


PROMPT_SETS: tuple[Callable[[], PromptSet], ...] = (
    *(_seed_jailbreaks, _advbench, _red_team),
    *(_seed_benign, _seed_questions, _awesome, _dolly, _oasst, _roleplay, _ifeval, _mt_bench, _truthful),
)
LABELLED: tuple[Callable[[], LabelledTexts], ...] = (_openai_moderation, _davidson, _advbench_strings, _gptfuzz)


def _present(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except AbsentDataError as error:
        print(f"left out: {error}")
        return None


def _split(pairs: Any) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    texts, labels = zip(*pairs, strict=True)
    return texts, labels


def _texts(path: Path, key: str) -> tuple[str, ...]:
    return tuple(row[key] for row in _jsonl(path))


def _jsonl(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _csv(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 24)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
