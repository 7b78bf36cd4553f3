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


def first_token_ms(engine: Engine, traffic: Traffic, rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Return how long each answer's first token took, in milliseconds, at a Poisson rate of so many a second.

    Those of the first fifth, while the engine fills, are left out.
    """
    draw, now, end = random.Random(seed), 0.0, 1000 * seconds
    coming, waiting, running, taken = (
        _arrivals(draw, rate, end),
        deque[list[float]](),
        list[list[float]](),
        list[float](),
    )
    following = next(coming, None)
    while following is not None or waiting or running:
        if following is not None and not (waiting or running):
            now = max(now, following)
        while following is not None and following <= now:
            waiting.append([following, _around(draw, traffic.prompt), _around(draw, traffic.reply)])
            following = next(coming, None)
        started, read = _read(waiting, engine.budget - len(running), engine.streams - len(running))
        now += engine.step + engine.token * (read + len(running)) + engine.stream * len(running)
        for answer in running:
            answer[2] -= 1
        taken += [now - answer[0] for answer in started if answer[0] > end / 5]
        running = [answer for answer in (*running, *started) if answer[2] > 1]
    return taken


def most_a_second(engine: Engine, traffic: Traffic, limit_ms: float, seconds: float = 120) -> float:
    """Return the greatest rate at which 99 of 100 first tokens come within the limit, to one in fifty; 0 for none."""
    low, high = LONE, 1.0
    if _p99(engine, traffic, low, 1000 / low) > limit_ms:
        return 0.0
    while _p99(engine, traffic, high, seconds) <= limit_ms:
        low, high = high, 2 * high
    while high - low > 0.02 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _p99(engine, traffic, middle, seconds) <= limit_ms else (low, middle)
    return low


def _p99(engine: Engine, traffic: Traffic, rate: float, seconds: float) -> float:
    taken = sorted(first_token_ms(engine, traffic, rate, max(seconds, 1000 / rate)))
    return taken[int(0.99 * len(taken))]


def _arrivals(draw: random.Random, rate: float, end: float) -> Iterator[float]:
    at = 0.0
    while (at := at + 1000 * draw.expovariate(rate)) < end:
        yield at


def _around(draw: random.Random, mean: float) -> float:
    """Return a length around a mean: log-normal, with a standard deviation of a half."""
    return max(1.0, draw.lognormvariate(0, 0.5) * mean / 1.1331)


def _read(waiting: deque[list[float]], budget: int, places: int) -> tuple[list[list[float]], float]:
    """Read prompts, oldest first, within a step's budget; return those that are read to the end, and the tokens."""
    done: list[list[float]] = []
    left = float(max(0, budget))
    while waiting and left > 0 and len(done) < places:
        part = min(left, waiting[0][1])
        left -= part
        waiting[0][1] -= part
        if waiting[0][1] <= 0:
            done.append(waiting.popleft())
    return done, max(0, budget) - left
