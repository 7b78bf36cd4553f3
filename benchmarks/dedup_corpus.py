"""Corpora to deduplicate: real documents with realistic edits of some of them planted among them, by a seed.

    python -m benchmarks.dedup_corpus FILE REAL PLANTED     # JSONL of id, text, edit, source

An edit is what copies go through on their way round the web: spacing and case, a sentence dropped, boilerplate around,
some share of the words replaced, or nothing at all.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.public_data import public_data

SEED = 7
WORD = re.compile(r"\w+")
BEFORE = (
    "Sure! Here is the answer you asked for:\n\n",
    "As an AI language model, I will do my best to help. ",
    "Answer: ",
)
AFTER = (
    "\n\nI hope this helps! Let me know if you have any other questions.",
    "\n\nCopyright 2024 Example Corp. All rights reserved. Terms apply.",
    "\n\nRead more | Subscribe to our newsletter | Privacy policy",
)
Edit = Callable[[random.Random, str, list[str]], str]


def real_texts() -> Iterator[str]:
    """Yield every document of the public sets of chats, answers and articles."""
    for row in _lines("chat/p3_50k", "p3_50k.jsonl"):
        yield f"{row['prompt']}\n{row['completion']}"
    for path in sorted(public_data("chat/gpteacher").glob("*.json")):
        for row in json.loads(path.read_text()):
            yield "\n".join(filter(None, (row["instruction"], row["input"], row["response"])))
    for row in _lines("chat/sgd_pii_dev", "dialogues.jsonl"):
        yield "\n".join(turn["text"] for turn in row["turns"])
    with (public_data("chat/synthetic_persona_chat") / "valid.csv").open(newline="") as file:
        yield from (row["Best Generated Conversation"] for row in csv.DictReader(file))
    with gzip.open(public_data("preferences/hh-rlhf") / "harmless-base_test.jsonl.gz", "rt") as file:
        yield from (json.loads(line)["chosen"] for line in file)
    for line in (public_data("dedup/minhash_articles") / "articles_2500.train").read_text().splitlines():
        yield line.partition(" ")[2]
    yield from (row["text"] for row in _lines("dedup/gitdup_dev", "docs.jsonl"))


def corpus(real: int, planted: int, seed: int = SEED) -> Iterator[dict[str, object]]:
    """Yield `real` documents and `planted` edited ones in random order; `source` is the id of what was edited."""
    rng = random.Random(seed)
    texts = list(real_texts())
    rng.shuffle(texts)
    texts = texts[:real]
    vocabulary = [word for text in texts[:3000] for word in WORD.findall(text)]
    editable = [i for i, text in enumerate(texts) if 40 <= len(text.split()) <= 1200]
    rows = [(text, "real", -1) for text in texts]
    for k in range(planted):
        name = tuple(EDITS)[k % len(EDITS)]
        source = rng.choice(editable)
        rows.append((EDITS[name](rng, texts[source], vocabulary), name, source))
    order = rng.sample(range(len(rows)), len(rows))
    place = {row: i for i, row in enumerate(order)}
    for i, row in enumerate(order):
        text, edit, source = rows[row]
        yield {"id": f"{i:08d}", "text": text, "edit": edit, "source": place.get(source, -1)}


def short_corpus(rows: int, seed: int = SEED) -> Iterator[dict[str, object]]:
    """Yield `rows` short documents: windows of 8 to 40 words of real ones."""
    rng = random.Random(seed)
    texts = [text.split() for text in real_texts()]
    for i in range(rows):
        words = rng.choice(texts)
        start = rng.randrange(max(1, len(words) - 8))
        yield {
            "id": f"{i:08d}",
            "text": " ".join(words[start : start + rng.randint(8, 40)]),
            "edit": "real",
            "source": -1,
        }


def write(path: Path, rows: Iterator[dict[str, object]]) -> Path:
    """Write rows as JSON lines, once: a file that is there already is left as it is."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("w") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        part.rename(path)
    return path


def _spacing(rng: random.Random, text: str, _: list[str]) -> str:
    text = re.sub(" ", lambda _: rng.choice((" ", "  ", "\t")) if rng.random() < 0.2 else " ", text)
    text = "".join(c.swapcase() if rng.random() < 0.1 else c for c in text)
    return re.sub("[.,;:!]", lambda found: "" if rng.random() < 0.3 else found.group(), text)


def _dropped_sentence(rng: random.Random, text: str, _: list[str]) -> str:
    sentences = re.split(r"(?<=[.!?])\s+", text)
    sentences.pop(rng.randrange(len(sentences)))
    return " ".join(sentences)


def _boilerplate(rng: random.Random, text: str, _: list[str]) -> str:
    before = rng.choice(BEFORE) if rng.random() < 0.6 else ""
    return before + text + (rng.choice(AFTER) if rng.random() < 0.7 else "")


def _replaced(share: float) -> Edit:
    def edit(rng: random.Random, text: str, vocabulary: list[str]) -> str:
        return WORD.sub(lambda found: rng.choice(vocabulary) if rng.random() < share else found.group(), text)

    return edit


EDITS: dict[str, Edit] = {
    "spacing": _spacing,
    "dropped sentence": _dropped_sentence,
    "2% of words": _replaced(0.02),
    "5% of words": _replaced(0.05),
    "10% of words": _replaced(0.1),
    "20% of words": _replaced(0.2),
    "boilerplate": _boilerplate,
    "none": lambda _, text, __: text,
}


def _lines(name: str, file: str) -> Iterator[dict[str, Any]]:
    with (public_data(name) / file).open() as lines:
        yield from (json.loads(line) for line in lines)


if __name__ == "__main__":
    write(Path(sys.argv[1]), corpus(int(sys.argv[2]), int(sys.argv[3])))
