"""What splitting 100,000 real conversations costs, part by part, and how many planted leaks it catches.

    python -m benchmarks.data_split

The vectors of the first run stay under the state folder, as those of the stage do; a second run finds them, as a
weekly run does for all but its new rows.
"""

from __future__ import annotations

import csv
import hashlib
import json
import resource
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.measure import machine, markdown
from benchmarks.public_data import public_data
from stages.sides.decontaminate import find_leaks, probes
from stages.sides.items import Item, conversation_item, mean_vectors, read_corpus
from stages.sides.topics import find_topics, project
from stages.split import SplitParams, find_straddlers, leak_drops, sides
from thumbwheel.embedding import embed
from thumbwheel.params import load_params

PLANTED, SEED = 200, 29
USERS = 20_000
"""Every second row is of one of so many users."""
HEADING = ("part of a split", "CPU-s", "wall s", "peak MiB")


class Stopwatch:
    """Rows of the table: what each part cost, and the peak of the whole process behind it."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self.again()

    def again(self) -> None:
        self.cpu, self.wall = time.process_time(), time.monotonic()

    def lap(self, part: str) -> None:
        cpu, wall = time.process_time() - self.cpu, time.monotonic() - self.wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.rows.append([part, f"{cpu:.1f}", f"{wall:.1f}", f"{peak:.0f}"])
        print(self.rows[-1], flush=True)
        self.again()


def conversations() -> Iterator[list[str]]:
    """Yield the messages of public conversations, the user's first."""
    for line in (public_data("chat/p3_50k") / "p3_50k.jsonl").open():
        row = json.loads(line)
        yield [row["prompt"], str(row.get("completion") or row.get("response") or "")]
    for path in sorted(public_data("chat/gpteacher").glob("*.json")):
        for row in json.loads(path.read_text()):
            yield [f"{row['instruction']} {row.get('input', '')}".strip(), row["response"]]
    for line in (public_data("chat/sgd_pii_dev") / "dialogues.jsonl").open():
        yield [turn["text"] for turn in json.loads(line)["turns"]]
    with (public_data("safety/davidson_hate") / "labeled_data.csv").open() as file:
        yield from ([row["tweet"], "I would rather not say."] for row in csv.DictReader(file))


def questions() -> Iterator[dict[str, Any]]:
    """Yield evaluation questions of four public sets, with their reference answers."""
    for line in (public_data("judge/mt_bench") / "mt_bench_question.jsonl").open():
        row = json.loads(line)
        yield _question("mt_bench", row["question_id"], row["turns"], [])
    for path in sorted(public_data("judge/llmbar").glob("*.json")):
        for number, row in enumerate(json.loads(path.read_text())):
            yield _question("llmbar", f"{path.stem}-{number}", [row["input"]], [])
    for number, line in enumerate((public_data("benchmarks/gsm8k") / "test.jsonl").open()):
        row = json.loads(line)
        yield _question("gsm8k", number, [row["question"]], [row["answer"]])
    with (public_data("benchmarks/truthfulqa") / "TruthfulQA.csv").open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            yield _question("truthfulqa", number, [row["Question"]], [row["Best Answer"]])


def items() -> list[Item]:
    """Return the conversations as the stage sees them, dated in their order, half of them with a user."""
    found = []
    for number, messages in enumerate(conversations()):
        name = hashlib.sha256(f"{number}".encode()).hexdigest()
        said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(messages)]
        user = f"u-{int(name[:8], 16) % USERS}" if number % 2 else None
        found.append(conversation_item({"id": name, "messages": said, "user": user, "created_at": f"{number:08}"}))
    return found


def plant(rows: list[Item], asked: Sequence[dict[str, Any]]) -> dict[str, list[tuple[int, str, str]]]:
    """Put questions into rows, alone or inside what the user says; return (row, set, question) by the way."""
    rng = np.random.default_rng(SEED)
    planted: dict[str, list[tuple[int, str, str]]] = {"verbatim": [], "embedded": []}
    for place, number in zip(
        rng.choice(len(rows), PLANTED, False), rng.choice(len(asked), PLANTED, False), strict=True
    ):
        row, question = rows[place], asked[number]
        way = "embedded" if place % 2 else "verbatim"
        text = question["turns"][0]
        said = text if way == "verbatim" else f"{row.asked[0]} {text} {row.asked[-1]}"
        rows[place] = Item(row.id, row.table, (said,), row.replied, row.user, row.created_at)
        planted[way].append((int(place), question["set"], question["id"]))
    return planted


def main() -> None:
    params = load_params("split", SplitParams)
    rows, asked = items(), list(questions())
    planted = plant(rows, asked)
    looked_for = probes(asked)
    print(f"{len(rows):,} conversations, {len(asked):,} questions; {machine()}\n")
    watch = Stopwatch()
    corpus = read_corpus(rows)
    watch.lap("read the words")
    texts = [text for row in rows for text in row.asked] + [p.text for p in looked_for if not p.is_answer]
    vectors = embed(texts, params.dtype)
    watch.lap(f"embed {len(set(texts)):,} texts, or find them")
    means = mean_vectors(rows, vectors)
    where = sides(rows, corpus, params)
    watch.lap("sides and means")
    leaks = find_leaks(corpus, looked_for, vectors, params)
    dropped = leak_drops(leaks)
    watch.lap("look for evaluation questions")
    straddlers = find_straddlers(rows, where, corpus, means, dropped, params)
    watch.lap("look for what straddles")
    topics = find_topics(means, corpus, params, params.seed)
    project(means)
    watch.lap("topics and their map")
    print("\n" + markdown(HEADING, watch.rows) + "\n")
    found = {(leak.row, leak.probe.set, leak.probe.question) for leak in leaks}
    for way, places in planted.items():
        print(f"planted {way}: {sum(place in found for place in places)} of {len(places)} caught")
    print(f"{len(leaks)} leaks in {len(dropped)} rows; {len(straddlers)} straddlers; topics: {'; '.join(topics.terms)}")


def _question(name: str, number: object, turns: list[str], reference: list[str]) -> dict[str, Any]:
    return {"set": name, "id": str(number), "turns": turns, "reference": reference}


if __name__ == "__main__":
    main()
