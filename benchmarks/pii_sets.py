"""Labelled sets on which finding personal data is measured: texts, and what stands where in them.

A set labels some kinds only; what it does not label is neither asked for nor counted against anybody.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import measure, peer_python
from benchmarks.public_data import public_data

Span = tuple[str, int, int]
"""Kind, start and end in characters."""
SEED = Path(__file__).resolve().parent.parent / "data" / "seed"
MERGED = {"ipv4": "ip", "ipv6": "ip"}
"""Kinds that the sets do not tell apart."""
FAKER = ("faker>=40,<50",)
FAKER_SCRIPT = Path(__file__).with_name("pii_faker.py")
SUPPORT = "conversations/support.jsonl"


@dataclass(frozen=True)
class Labelled:
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class LabelledSet:
    """`kinds` are labelled; those of `partly` not everywhere they stand, so that precision means nothing."""

    name: str
    kinds: tuple[str, ...]
    texts: tuple[Labelled, ...]
    partly: tuple[str, ...] = ()


def presidio_synth() -> LabelledSet:
    """Sentences of Microsoft's presidio-research, filled in by Faker and FakeNameGenerator in many countries' forms."""
    names = {
        "EMAIL_ADDRESS": "email",
        "PHONE_NUMBER": "phone",
        "CREDIT_CARD": "card",
        "IBAN_CODE": "iban",
        "US_SSN": "ssn",
        "IP_ADDRESS": "ip",
        "PERSON": "person",
        "GPE": "place",
        "STREET_ADDRESS": "place",
        "ORGANIZATION": "organisation",
    }
    rows = json.loads((public_data("pii/presidio_synth") / "synth_dataset_v2.json").read_text())
    texts = tuple(
        Labelled(
            row["full_text"],
            tuple(
                (names[s["entity_type"]], s["start_position"], s["end_position"])
                for s in row["spans"]
                if s["entity_type"] in names
            ),
        )
        for row in rows
    )
    return LabelledSet("presidio_synth", tuple(dict.fromkeys(names.values())), texts)


def sgd() -> LabelledSet:
    """Dialogues of Google's Schema-Guided Dialogue (Rastogi et al. 2020): businesses' telephone numbers."""
    kinds = {"PHONE": "phone", "PERSON": "person", "ADDRESS": "place"}
    lines = (public_data("chat/sgd_pii_dev") / "dialogues.jsonl").read_text().splitlines()
    texts = tuple(
        Labelled(turn["text"], tuple((kinds[s["type"]], s["start"], s["end"]) for s in turn["spans"]))
        for line in lines
        for turn in json.loads(line)["turns"]
    )
    return LabelledSet("sgd_pii_dev", ("phone", "person", "place"), texts, partly=("person", "place"))


def faker() -> LabelledSet:
    """Support messages of ours around values that Faker makes up for 36 countries; see `pii_faker`."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "rows.json")
        measure([peer_python("faker", FAKER), str(FAKER_SCRIPT), str(written)])
        rows = json.loads(written.read_text())
    texts = tuple(Labelled(row["text"], tuple((kind, a, b) for kind, a, b in row["spans"])) for row in rows)
    return LabelledSet("faker", tuple(dict.fromkeys(span[0] for text in texts for span in text.spans)), texts)


def seed() -> LabelledSet:
    """The seed's support conversations: every value in them was planted, and each is listed."""
    planted = json.loads((SEED / "PLANTED.json").read_text())["defects"]
    listed: dict[int, list[tuple[str, str]]] = {}
    for defect in planted:
        if defect["kind"] == "pii" and defect["file"] == SUPPORT:
            listed.setdefault(defect["row"], []).append(
                (MERGED.get(defect["detail"]["kind"], defect["detail"]["kind"]), defect["detail"]["value"])
            )
    texts = []
    for row, line in enumerate((SEED / SUPPORT).read_text().splitlines()):
        for message in _messages(line):
            texts.append(Labelled(message, tuple(sorted(set(_places(listed.get(row, ()), message))))))
    kinds = tuple(dict.fromkeys(kind for values in listed.values() for kind, _ in values))
    return LabelledSet("seed", kinds, tuple(texts))


def wnut17() -> LabelledSet:
    """Emerging entities in posts of the social web (Derczynski et al. 2017), development side."""
    names = {"person": "person", "location": "place", "corporation": "organisation", "group": "organisation"}
    return _conll("wnut17", public_data("pii/wnut17") / "emerging.dev.conll", names)


def btc() -> LabelledSet:
    """The Broad Twitter Corpus (Derczynski et al. 2016), development side."""
    names = {"PER": "person", "LOC": "place", "ORG": "organisation"}
    return _conll("btc_ner", public_data("pii/btc_ner") / "btc.dev", names)


PATTERN_SETS: tuple[Callable[[], LabelledSet], ...] = (presidio_synth, faker, sgd, seed)
NAME_SETS: tuple[Callable[[], LabelledSet], ...] = (wnut17, btc, presidio_synth)


def _places(values: Iterable[tuple[str, str]], text: str) -> Iterator[Span]:
    for kind, value in values:
        yield from ((kind, match.start(), match.end()) for match in re.finditer(re.escape(value), text))


def _messages(line: str) -> Iterator[str]:
    """Yield a record's messages, of any role; a line that is no record has none."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return
    for message in record.get("messages") or ():
        if isinstance(message.get("content"), str):
            yield message["content"]


def _conll(name: str, path: Path, names: dict[str, str]) -> LabelledSet:
    """Read words and tags in columns, sentences apart by an empty line; words are joined by blanks."""
    texts = [_sentence(block.splitlines(), names) for block in re.split(r"\n\s*\n", path.read_text()) if block.strip()]
    return LabelledSet(name, tuple(dict.fromkeys(names.values())), tuple(texts))


def _sentence(lines: list[str], names: dict[str, str]) -> Labelled:
    text, spans = "", []
    for line in lines:
        word, tag = line.rsplit("\t", 1)
        start = len(text) + bool(text)
        text = f"{text} {word}" if text else word
        place, _, label = tag.strip().partition("-")
        if place == "B" and label in names:
            spans.append((names[label], start, len(text)))
        elif place == "I" and label in names and spans:
            spans[-1] = (spans[-1][0], spans[-1][1], len(text))
    return Labelled(text, tuple(spans))
