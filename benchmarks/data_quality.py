"""The heuristics of `stages.grade` against datatrove's own filters: how fast, and whether they say the same.

    python -m benchmarks.data_quality           # the tables
    python -m benchmarks.data_quality golden    # write tests/stages/datatrove_verdicts.json anew, from the seed's texts

Both take all four filters to every text at the published limits (`benchmarks/published_limits.yaml`). The peer reads a
random sample of what we read in whole; rates are per CPU-second. `ours` is what the benchmark starts for our side.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.datatrove_filters import FILTERS
from benchmarks.english_rules import REQUIREMENTS
from benchmarks.measure import alternate, machine, markdown, measure, peer_python
from benchmarks.public_data import public_data
from stages.quality.heuristics import HeuristicParams, active, broken_rules, measure_texts, slabs

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "benchmarks" / "published_limits.yaml"
KNOWLEDGE = ROOT / "data" / "seed" / "knowledge"
GOLDEN = ROOT / "tests" / "stages" / "datatrove_verdicts.json"
SAMPLE, AGREED, RUNS, SEED = 1500, 6000, 3, 31
HEADING = ("work", "ours", "peer", "theirs", "ratio", "aim")


def main(command: Sequence[str]) -> None:
    if command[:1] == ["ours"]:
        print(json.dumps(work(Path(command[1]), Path(command[2]))))
    elif command == ["golden"]:
        write_golden()
    else:
        print(machine() + "\n")
        print(markdown(HEADING, rows()) + "\n")
        print(
            markdown(("filter", "texts", "same verdict", "same reason", "dropped by us", "by datatrove"), agreement())
        )


def rows() -> list[list[str]]:
    """Return the rows of the README's table."""
    texts = public_texts()
    sample = random.Random(SEED).sample(texts, SAMPLE)
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "ours": ours_command(Path(folder), "whole", texts),
            "ours, few": ours_command(Path(folder), "few", sample),
            "theirs": peer_command(Path(folder), "few", sample),
        }
        costs = alternate(commands, RUNS)
    ours, theirs = (rate(each, costs[name].work_cpu) for name, each in (("ours", texts), ("theirs", sample)))
    few = [rate(sample, costs[name].cpu_seconds) for name in ("ours, few", "theirs")]
    speed = row(f"quality filters, {len(texts):,} texts, start-up out", ours, theirs, "300×")
    return [speed, row(f"the same, {SAMPLE:,} texts, start-up in", few[0], few[1], "")]


def row(work: str, ours: tuple[float, float], theirs: tuple[float, float], aim: str) -> list[str]:
    """Return a row; the ratio is of bytes a CPU-second."""
    said = [f"{texts:,.0f} texts/s, {megabytes:.3g} MB/s" for texts, megabytes in (ours, theirs)]
    return [work, said[0], "datatrove 0.10.1", said[1], f"{ours[1] / theirs[1]:,.0f}×", aim]


def rate(texts: Sequence[str], seconds: float) -> tuple[float, float]:
    """Return texts and megabytes a CPU-second."""
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    return len(texts) / seconds, size / 1e6 / seconds


def agreement() -> list[list[str]]:
    """Return, for each filter, how often both sides say the same of the same text."""
    texts = random.Random(SEED).sample(public_texts(), AGREED)
    with tempfile.TemporaryDirectory() as folder:
        measure(peer_command(Path(folder), "agreed", texts))
        theirs = json.loads((Path(folder) / "agreed.theirs.json").read_text())
    return [compare(name, ours, [said[i] for said in theirs]) for i, (name, ours) in enumerate(verdicts(texts).items())]


def compare(name: str, ours: Sequence[str | None], theirs: Sequence[str | None]) -> list[str]:
    same = sum((a is None) == (b is None) for a, b in zip(ours, theirs, strict=True))
    reasons = sum(a == b for a, b in zip(ours, theirs, strict=True))
    dropped = [f"{sum(each is not None for each in side) / len(ours):.1%}" for side in (ours, theirs)]
    return [FILTERS[name], f"{len(ours):,}", f"{same / len(ours):.2%}", f"{reasons / len(ours):.2%}", *dropped]


def verdicts(texts: Sequence[str]) -> dict[str, list[str | None]]:
    """Return why each of the four filters drops each text at the published limits, by the kernel."""
    found: dict[str, list[str | None]] = {name: [] for name in FILTERS}
    limits = {name: published(name) for name in FILTERS}
    for slab in slabs(texts):
        values = measure_texts(slab)
        for name, params in limits.items():
            reasons = [*(rule.reason for rule, *_ in active(params)), None]
            found[name] += [reasons[place] for place in broken_rules(values, params).tolist()]
    return found


def published(*families: str) -> HeuristicParams:
    """Return the published limits of the families, all others off."""
    limits: dict[str, dict[str, Any]] = yaml.safe_load(PUBLISHED.read_text())
    off = {name: dict.fromkeys(each) | {"enough_words": 0} for name, each in limits.items()}
    return HeuristicParams.model_validate(off | {name: limits[name] for name in families})


def work(texts: Path, found: Path) -> dict[str, Any]:
    """Judge the texts of a file, on one core, and say what it took."""
    read: list[str] = json.loads(texts.read_text())
    measure_texts(["Once more, to load what is loaded late."])
    began = time.process_time()
    said = verdicts(read)
    spent = time.process_time() - began
    found.write_text(json.dumps(said))
    return {"work_cpu": spent, "texts": len(read)}


def ours_command(folder: Path, name: str, texts: Sequence[str]) -> list[str]:
    (folder / f"{name}.json").write_text(json.dumps(texts))
    files = [str(folder / f"{name}.json"), str(folder / f"{name}.ours.json")]
    return [sys.executable, "-m", "benchmarks.data_quality", "ours", *files]


def peer_command(folder: Path, name: str, texts: Sequence[str]) -> list[str]:
    (folder / f"{name}.json").write_text(json.dumps(texts))
    files = [str(folder / f"{name}.json"), str(folder / f"{name}.theirs.json")]
    return [peer_python("datatrove", REQUIREMENTS), str(ROOT / "benchmarks" / "datatrove_filters.py"), *files]


def public_texts() -> list[str]:
    """Return the answers of gpteacher and dolly, and the prompts of p3_50k, whose answers are a word or two."""
    answers = [
        row["response"]
        for path in sorted(public_data("chat/gpteacher").glob("*.json"))
        for row in json.loads(path.read_text())
    ]
    answers += [row["response"] for row in _lines(public_data("chat/dolly_hhrlhf_small"), "dolly_hhrlhf_train_small")]
    return answers + [row["prompt"] for row in _lines(public_data("chat/p3_50k"), "p3_50k")]


def _lines(folder: Path, name: str) -> list[dict[str, Any]]:
    with (folder / f"{name}.jsonl").open() as lines:
        return [json.loads(line) for line in lines]


DAMAGES: tuple[Callable[[str], str], ...] = (
    lambda text: "\n".join(f"- {line}" for line in text.split(". ")),
    lambda text: "\n".join(f"{line} ..." for line in text.split(". ")),
    lambda text: text.replace(" ", " # ", 60),
    lambda text: text.replace(".", "… …"),
    lambda text: "\n\n".join([text[:300]] * 3 + [text]),
    lambda text: "\n".join([text[:80]] * 9),
    lambda text: text[:120] + " and the same words again" * 9,
    lambda text: "\n".join(text.split()),
    lambda text: text.replace(" ", "", 90),
    lambda text: " ".join(str(len(word) * 37) for word in text.split()),
    lambda text: text.replace(". ", ".[1] Lorem ipsum dolor sit amet. ", 1),
    lambda text: text.replace(". ", ". {} Please turn JavaScript on. ", 2),
    lambda text: text.replace("\n", " ").replace(". ", ".\nSee our privacy policy.\n"),
    lambda text: (
        text.replace(" is ", "'s ").replace(" not", "n't") + " It'll cost US$5 or 5km:) see https://a.example/b-c"
    ),
    lambda text: text.replace("the", "").replace("to", "").replace("of", "").replace("and", ""),
)
"""What the filters are to find, done to a good text."""


def golden_texts() -> list[str]:
    """Return the seed's knowledge, whole and damaged."""
    known = [path.read_text().split("---", 2)[2].strip() for path in sorted(KNOWLEDGE.glob("*.md"))]
    return known + [damage(known[i % len(known)]) for i, damage in enumerate(DAMAGES * 3)]


def write_golden() -> None:
    """Have datatrove judge the seed's own texts."""
    texts = golden_texts()
    with tempfile.TemporaryDirectory() as folder:
        measure(peer_command(Path(folder), "golden", texts))
        theirs = json.loads((Path(folder) / "golden.theirs.json").read_text())
    lines = [
        json.dumps({"text": text, **dict(zip(FILTERS, said, strict=True))})
        for text, said in zip(texts, theirs, strict=True)
    ]
    GOLDEN.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1:])
