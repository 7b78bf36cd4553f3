"""Ask a chat API for answers, so many at once or so many a second, and say how long they took.

python -m benchmarks.serving_load '{"url": …}'      # started by benchmarks.serving; see `Load` for the keys
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import re
import sys
import time
from dataclasses import asdict, dataclass, field

import aiohttp
import numpy as np

from benchmarks.engine_model import around

QUESTIONS = (
    "What does a blinking light mean?",
    "How do I pair the hub with my phone?",
    "Can I use the valve in winter?",
    "How long do I have to send a kit back?",
    "Why does the sensor lose its connection at night?",
)


SAID = re.compile(rb'"content": ?"[^"]')
"""A chunk with words in it."""
USED = re.compile(rb'"prompt_tokens": ?(\d+).*?"completion_tokens": ?(\d+)')


@dataclass(frozen=True)
class Load:
    """What is asked: `streams` at once, or, where `rate` is above zero, so many a second at random times."""

    url: str
    model: str | None
    stream: bool
    seconds: float
    streams: int = 1
    rate: float = 0.0
    max_tokens: int = 64
    words: int = 0
    """Words set before each question."""
    shared: int = 0
    """Words of a system message, the same for all."""
    varied: bool = False
    """Whether `words` and `max_tokens` are means of a log-normal spread with a sigma of a half."""
    exact: bool = False
    """Whether vLLM is told to write `max_tokens` tokens whatever they are."""


@dataclass
class Timings:
    """Seconds to the first words and to the end of each answer; what went wrong, in words."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    tokens: list[tuple[int, int]] = field(default_factory=list)
    """Of prompt and reply, where a stream says so."""


async def apply(load: Load) -> dict[str, float | str]:
    """Return answers, faults, answers a second, and the quantiles of both times in milliseconds."""
    timings, began = Timings(), time.perf_counter()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
        await (_at_a_rate(session, load, timings) if load.rate else _at_once(session, load, timings))
    seconds = time.perf_counter() - began
    return {
        "answers": len(timings.whole),
        "faults": len(timings.faults),
        "fault": timings.faults[0] if timings.faults else "",
        "rate": len(timings.whole) / seconds,
        **dict(zip(("prompt", "reply"), np.mean(timings.tokens or [(0, 0)], axis=0).tolist(), strict=True)),
        **_quantiles("first", timings.first),
        **_quantiles("whole", timings.whole),
    }


async def _at_once(session: aiohttp.ClientSession, load: Load, timings: Timings) -> None:
    end = time.perf_counter() + load.seconds

    async def one(number: int) -> None:
        while time.perf_counter() < end:
            await _ask(session, load, timings, number)
            number += load.streams

    await asyncio.gather(*(one(number) for number in range(load.streams)))


async def _at_a_rate(session: aiohttp.ClientSession, load: Load, timings: Timings) -> None:
    draw, at, tasks = random.Random(1), time.perf_counter(), list[asyncio.Future[None]]()
    end = at + load.seconds
    while (at := at + draw.expovariate(load.rate)) < end:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        tasks.append(asyncio.ensure_future(_ask(session, load, timings, len(tasks))))
    await asyncio.gather(*tasks)


async def _ask(session: aiohttp.ClientSession, load: Load, timings: Timings, number: int) -> None:
    draw = random.Random(number)
    words, most = (round(around(draw, mean)) if load.varied else mean for mean in (load.words, load.max_tokens))
    system = [{"role": "system", "content": " ".join(f"rule{place}" for place in range(load.shared))}]
    body = {
        "messages": [*(system if load.shared else []), {"role": "user", "content": question(number, words)}],
        "stream": load.stream,
        "max_tokens": most,
        **({"ignore_eos": True, "skip_special_tokens": False} if load.exact else {}),
        "user": f"user-{number % 97}",
        **({"stream_options": {"include_usage": True}} if load.stream else {}),
    }
    began, first = time.perf_counter(), None
    try:
        async with session.post(load.url, json={**body, **({"model": load.model} if load.model else {})}) as response:
            last = b""
            async for part in response.content.iter_any():
                if first is None and (not load.stream or SAID.search(part)):
                    first = time.perf_counter()
                last = part if len(part) > 200 else last + part
        if response.status != 200 or (load.stream and b"[DONE]" not in last):
            raise ValueError(f"{response.status} {last[-200:]!r}")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        timings.faults.append(f"{error!r}")
        return
    ended = time.perf_counter()
    timings.first.append((first or ended) - began)
    timings.whole.append(ended - began)
    if used := USED.search(last):
        timings.tokens.append((int(used[1]), int(used[2])))


def question(number: int, words: int) -> str:
    """Return a question that nobody else asks, after some words."""
    before = " ".join(f"word{(number * 31 + place) % 997}" for place in range(words))
    return f"{before} On order {number}: {QUESTIONS[number % len(QUESTIONS)]}".strip()


def _quantiles(name: str, seconds: list[float]) -> dict[str, float]:
    values = np.quantile(seconds, (0.5, 0.99)) * 1000 if seconds else (float("nan"), float("nan"))
    return {f"{name}_p50": float(values[0]), f"{name}_p99": float(values[1])}


def main() -> None:
    load = Load(**json.loads(sys.argv[1]))
    gc.freeze()
    gc.disable()  # its pauses would be taken for the server's
    print(json.dumps({**asdict(load), **asyncio.run(apply(load))}))


if __name__ == "__main__":
    main()
