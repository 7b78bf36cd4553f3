"""How often the semantic cache would give one answer to two questions, and how often wrongly.

`python -m benchmarks.memory pairs changes`; reads public data that the repository does not hold
(`THUMBWHEEL_PUBLIC_DATA`).
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.measure import markdown
from benchmarks.public_data import public_data
from serving.cache.literals import agree, literals, plain
from serving.options import SHIPPED, load_options

Pair = tuple[str, str]

FLOORS = (0.9, 0.95, 0.98)
COSINE = load_options(SHIPPED).cache.cosine


def pairs() -> str:
    """Return how often labelled pairs would share an answer, and how often wrongly."""
    rows = []
    for name, (found, same) in {"QQP": _qqp(), "PAWS": _paws()}.items():
        cosines, words = _cosines(found), np.array([_share(*pair) for pair in found])
        for floor in FLOORS:
            near = cosines >= floor
            counts = [near.sum(), (near & ~same).sum(), (near & words).sum(), (near & words & ~same).sum()]
            rows.append([f"{name}, {len(found)} pairs, {same.sum()} the same", f"{floor}", *map(str, counts)])
    return markdown(["pairs", "cosine", "shared by cosine", "wrongly", "with words too", "wrongly"], rows)


def changes() -> str:
    """Return how often a real question and a changed one would share an answer."""
    rng, rows = random.Random(11), []
    maths, truth = _gsm8k(), _truthful()
    for what, questions, change in (
        ("another number", maths, _other_number),
        ("another name", maths, _other_name(maths)),
        ("another word", truth, _other_word(truth)),
        ("a word more", truth, _more(truth)),
        ("a negation more", truth, _negated),
        ("the same in small letters, no mark at the end", truth, lambda q, _: q.lower().rstrip("?. ")),
        ("the same with 'Please tell me:' before it", truth, lambda q, _: f"Please tell me: {q}"),
        ("the same with two letters changed round", truth, _typo),
    ):
        found = [(q, changed) for q in questions if (changed := change(q, rng)) and changed != q]
        near, words = _cosines(found) >= COSINE, np.array([_share(*pair) for pair in found])
        rows.append([what, str(len(found)), f"{near.mean():.1%}", f"{(near & words).mean():.1%}"])
    return markdown(["the other question is", "pairs", f"cosine ≥ {COSINE}", "and the words agree"], rows)


def _share(one: str, other: str) -> bool:
    return agree(literals(one), literals(other))


def _cosines(found: Sequence[Pair]) -> np.ndarray:
    from thumbwheel.embedding import embed

    said = [(plain(one), plain(other)) for one, other in found]
    vectors = embed([text for pair in said for text in pair], "float32")
    ones, others = (vectors.of([pair[side] for pair in said]) for side in (0, 1))
    return np.asarray((ones * others).sum(axis=1))


def _p3(task: str, form: str) -> tuple[list[Pair], np.ndarray]:
    rows = map(json.loads, (public_data("chat/p3_50k") / "p3_50k.jsonl").open())
    found = [(m, row) for row in rows if row["task"] == task and (m := re.search(form, row["prompt"], re.DOTALL))]
    return [(m[1], m[2]) for m, _ in found], np.array([row["completion"].lower().startswith("yes") for _, row in found])


def _qqp() -> tuple[list[Pair], np.ndarray]:
    """Quora's question pairs: can an answer to one be used to answer the other?"""
    return _p3("glue_qqp_answer", r'answer to "(.*?)" also be used to answer "(.*?)"\?\n')


def _paws() -> tuple[list[Pair], np.ndarray]:
    """Pairs of the same words, made to look alike whether they mean the same or not (arXiv:1904.01130)."""
    return _p3("paws_labeled_final_Concatenation", r"Sentence 1: (.*?)\nSentence 2: (.*?)\nQ")


def _gsm8k() -> list[str]:
    rows = (public_data("benchmarks/gsm8k") / "test.jsonl").open()
    return [question for row in rows if len(question := json.loads(row)["question"]) < 400]


def _truthful() -> list[str]:
    with (public_data("benchmarks/truthfulqa") / "TruthfulQA.csv").open(newline="") as file:
        return [row["Question"] for row in csv.DictReader(file)]


def _other_number(question: str, rng: random.Random) -> str | None:
    numbers = list(re.finditer(r"\b\d+\b", question))
    if not numbers:
        return None
    one = rng.choice(numbers)
    return f"{question[: one.start()]}{int(one[0]) + rng.randint(1, 5)}{question[one.end() :]}"


def _other_name(questions: Sequence[str]) -> Callable[[str, random.Random], str | None]:
    """Return a change of every occurrence of one name for another of the corpus."""
    names = sorted({name for question in questions for name in _names(question)})

    def change(question: str, rng: random.Random) -> str | None:
        own = _names(question)
        if not own:
            return None
        return re.sub(rf"\b{own[0]}\b", rng.choice([name for name in names if name not in own]), question)

    return change


def _names(question: str) -> list[str]:
    return re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b", question)


def _other_word(questions: Sequence[str]) -> Callable[[str, random.Random], str | None]:
    """Return a change of one long word in small letters for another of the corpus."""
    words = sorted({word for question in questions for word in re.findall(r"\b[a-z]{5,}\b", question)})

    def change(question: str, rng: random.Random) -> str | None:
        own = list(re.finditer(r"\b[a-z]{5,}\b", question))
        if not own:
            return None
        one = rng.choice(own)
        return f"{question[: one.start()]}{rng.choice(words)}{question[one.end() :]}"

    return change


def _more(questions: Sequence[str]) -> Callable[[str, random.Random], str | None]:
    """Return a change that puts a word of the corpus between two others."""
    words = sorted({word for question in questions for word in re.findall(r"\b[a-z]{5,}\b", question)})

    def change(question: str, rng: random.Random) -> str | None:
        own = question.split()
        place = rng.randint(1, len(own) - 1)
        return " ".join([*own[:place], rng.choice(words), *own[place:]])

    return change


def _negated(question: str, rng: random.Random) -> str | None:
    match = re.search(r"\b(is|are|was|were|can|could|should|would|will|must)\b (?:\w+ )?", question)
    return f"{question[: match.end()]}not {question[match.end() :]}" if match else None


def _typo(question: str, rng: random.Random) -> str | None:
    words = list(re.finditer(r"\b[a-z]{5,}\b", question))
    if not words:
        return None
    place = rng.choice(words).start() + 1
    return f"{question[:place]}{question[place + 1]}{question[place]}{question[place + 2 :]}"
