"""How fast personal data is found in chats, beside Presidio without a language model, scrubadub and datafog.

    python -m benchmarks.data_pii

All read the same conversations, one text each, in one process on one core; runs alternate, medians of three.
"""

from __future__ import annotations

import csv
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Cost, alternate, machine, markdown
from benchmarks.pii import DETECTORS, command
from benchmarks.pii_detectors import WARM
from benchmarks.public_data import public_data

HEADING = ("work", "ours", "peer", "theirs", "ratio", "aim")
AIMS = {"presidio": "≥ 200×", "scrubadub": "≥ 25×", "datafog": "≥ 25×"}
EACH, SEED = 660, 43
"""Conversations drawn of each set; Presidio takes half a minute for all of them."""


def rows() -> list[list[str]]:
    """Return a row for each peer: documents and megabytes of UTF-8 a CPU-second, and the ratio without start-up."""
    texts = chats()
    timed = texts[WARM:]
    size = sum(len(text.encode()) for text in timed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "texts.json")
        path.write_text(json.dumps(texts))
        costs = alternate({name: command(name, path) for name in DETECTORS}, environment={"PYTHONPATH": str(ROOT)})
    work = f"PII, structured kinds, {len(timed):,} conversations of {size / len(timed) / 1000:.1f} kB"
    return [_row(work, peer, costs, len(timed), size) for peer in AIMS]


def chats() -> list[str]:
    """Return conversations of five public sets in equal shares, all turns of one as one text, in a random order."""
    rng = random.Random(SEED)
    sets = (_dialogues, _personas, _instructions, _threads, _prompts)
    texts = [text for each in sets for text in rng.sample(each(), EACH)]
    rng.shuffle(texts)
    return texts


def _dialogues() -> list[str]:
    return ["\n".join(turn["text"] for turn in row["turns"]) for row in _lines("chat/sgd_pii_dev/dialogues.jsonl")]


def _personas() -> list[str]:
    with public_data("chat/synthetic_persona_chat").joinpath("valid.csv").open(newline="") as file:
        return [row["Best Generated Conversation"] for row in csv.DictReader(file)]


def _instructions() -> list[str]:
    rows = [
        row for path in sorted(public_data("chat/gpteacher").glob("*.json")) for row in json.loads(path.read_text())
    ]
    return ["\n".join(str(row[name]) for name in ("instruction", "input", "response") if row.get(name)) for row in rows]


def _threads() -> list[str]:
    trees = _lines("chat/oasst2_filtered_openpaws/oasst2_filtered.jsonl")
    return ["\n".join(thread) for tree in trees for thread in _paths(tree["prompt"])]


def _paths(message: dict[str, Any]) -> Iterator[list[str]]:
    """Yield each way from a message to the end of its tree."""
    for rest in [path for reply in message["replies"] for path in _paths(reply)] or [[]]:
        yield [message["text"], *rest]


def _prompts() -> list[str]:
    return [f"{row['prompt']}\n{row['completion']}" for row in _lines("chat/p3_50k/p3_50k.jsonl")]


def _lines(name: str) -> list[dict[str, Any]]:
    folder, file = name.rsplit("/", 1)
    with (public_data(folder) / file).open() as lines:
        return [json.loads(line) for line in lines]


def _row(work: str, peer: str, costs: dict[str, Cost], documents: int, size: int) -> list[str]:
    mine, theirs = costs["ours"], costs[peer]
    ratio, with_start = theirs.work_cpu / mine.work_cpu, theirs.cpu_seconds / mine.cpu_seconds
    return [
        work,
        _rate(mine, documents, size),
        peer,
        _rate(theirs, documents, size),
        f"{ratio:.0f}× ({with_start:.0f}× with start-up)",
        AIMS[peer],
    ]


def _rate(cost: Cost, documents: int, size: int) -> str:
    megabytes = size / 1e6 / cost.work_cpu
    return f"{documents / cost.work_cpu:,.0f} docs/s, {megabytes:.{0 if megabytes >= 10 else 2}f} MB/s"


def main() -> None:
    table = rows()
    print(machine(), "\n")
    print(markdown(HEADING, table))


if __name__ == "__main__":
    main()
