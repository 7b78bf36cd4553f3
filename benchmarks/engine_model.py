"""A model of an engine that batches continuously, for what cannot be loaded here: how long the first token takes.

A step writes one token of every running answer and reads, within its budget, prompts that wait, cut where need be; it
takes the time of the weights and of the running answers' keys and values to be read, and that of its tokens to be
reckoned. That is how vLLM schedules (chunked prefill); `benchmarks.engine` holds it to vLLM.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

LONE = 0.01
"""Requests a second at which hardly any two meet."""
PIECES = 0.3
"""Sigma of the tokens in first pieces of 32 characters: 7 in the median, 14 in one of a hundred (Dolly's replies)."""


@dataclass(frozen=True)
class Engine:
    """Milliseconds: `step` whatever it holds, `token` a token that is read or written, `stream` a running answer."""

    step: float
    token: float
    stream: float
    budget: int
    """Tokens of a step."""
    streams: int
    """Answers that are written at once."""


@dataclass(frozen=True)
class Traffic:
    """Tokens of a prompt that must be read, and of a reply; both vary log-normally, by a sigma of a half."""

    prompt: float
    reply: float


@dataclass
class _Answer:
    """When it came, in milliseconds, and tokens: of its prompt and reply that are left, and until words are seen."""

    came: float
    prompt: float
    reply: float
    silent: float


def first_token_ms(
    engine: Engine, traffic: Traffic, rate: float, seconds: float, seed: int = 0, words: float = 1
) -> list[float]:
    """Return how long each answer's first token took, in milliseconds, at a Poisson rate of so many a second.

    Where a guard sends a reply in pieces, its first words are so many tokens on average, and the last is waited for.
    Answers of the first fifth, while the engine fills, are left out.
    """
    draw, now, end = random.Random(seed), 0.0, 1000 * seconds
    lengths = random.Random(seed + 1)
    coming, waiting, running, taken = (
        _arrivals(draw, rate, end),
        deque[_Answer](),
        list[_Answer](),
        list[float](),
    )
    following = next(coming, None)
    while following is not None or waiting or running:
        if following is not None and not (waiting or running):
            now = max(now, following)
        while following is not None and following <= now:
            prompt, reply = around(draw, traffic.prompt), around(draw, traffic.reply)
            waiting.append(_Answer(following, prompt, reply, min(reply, _begun(lengths, words))))
            following = next(coming, None)
        started, read = _read(waiting, engine.budget - len(running), engine.streams - len(running))
        now += engine.step + engine.token * (read + len(running)) + engine.stream * len(running)
        for answer in running:
            answer.reply -= 1
        running += started
        for answer in running:
            answer.silent -= 1
            if -1 < answer.silent <= 0 and answer.came > end / 5:
                taken.append(now - answer.came)
        running = [answer for answer in running if answer.reply > 1]
    return taken


def most_a_second(engine: Engine, traffic: Traffic, limit_ms: float, seconds: float = 120, words: float = 1) -> float:
    """Return the greatest rate at which 99 of 100 first words come within the limit, to one in fifty; 0 for none."""

    def late(rate: float, seconds: float) -> bool:
        return p99_ms(engine, traffic, rate, seconds, words) > limit_ms

    low, high = LONE, 1.0
    if late(low, 1000 / low):
        return 0.0
    while not late(high, seconds):
        low, high = high, 2 * high
    while high - low > 0.02 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if late(middle, seconds) else (middle, high)
    return low


def p99_ms(engine: Engine, traffic: Traffic, rate: float, seconds: float, words: float = 1) -> float:
    """Return what 99 of 100 first tokens, or first words, take at most at a rate, milliseconds."""
    taken = sorted(first_token_ms(engine, traffic, rate, max(seconds, 1000 / rate), words=words))
    return taken[int(0.99 * len(taken))]


def _arrivals(draw: random.Random, rate: float, end: float) -> Iterator[float]:
    at = 0.0
    while (at := at + 1000 * draw.expovariate(rate)) < end:
        yield at


def around(draw: random.Random, mean: float) -> float:
    """Return a length around a mean: log-normal, with a sigma of a half; at least 1."""
    return max(1.0, draw.lognormvariate(0, 0.5) * mean / 1.1331)


def _begun(draw: random.Random, mean: float) -> float:
    """Return how many tokens a reply's first words are: pieces of much the same length in characters."""
    return 1.0 if mean == 1 else max(1.0, draw.lognormvariate(0, PIECES) * mean / 1.046)


def _read(waiting: deque[_Answer], budget: int, places: int) -> tuple[list[_Answer], float]:
    """Read prompts, oldest first, within a step's budget; return those that are read to the end, and the tokens."""
    done: list[_Answer] = []
    left = float(max(0, budget))
    while waiting and left > 0 and len(done) < places:
        part = min(left, waiting[0].prompt)
        left -= part
        waiting[0].prompt -= part
        if waiting[0].prompt <= 0:
            done.append(waiting.popleft())
    return done, max(0, budget) - left
