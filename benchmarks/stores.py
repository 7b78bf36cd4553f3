"""What a request costs the stores behind the chat: CPU of a real Redis by our own calls, and bytes that are kept.

    python -m benchmarks.stores      # benchmarks.capacity reckons with what it prints

Needs redis-server. Texts are of the length that capacity.yaml assumes of prompt and reply.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from benchmarks.capacity import FIGURES
from benchmarks.measure import ROOT, machine, markdown
from serving.access import Caller
from serving.breaker import Breaker
from serving.cache.answers import Answer, RedisAnswers
from serving.entry import Guest
from serving.feedback import feedback_event
from serving.history import Message, Reply, SqliteHistory
from serving.keeper import die_with_parent
from serving.limits import RedisLimiter
from serving.memory.session import RedisSessions, Session
from serving.openai_api import FeedbackRequest
from serving.options import BreakerOptions, Tier
from serving.redis_link import RedisLink
from thumbwheel.engine import free_port

REQUESTS = 5_000
SESSION_TURNS = 5
CHARACTERS = 4.3
"""Of an English token."""
WIDTH = 384


def main() -> None:
    traffic = yaml.safe_load(FIGURES.read_text())["assumed"]["traffic"]
    print(machine())
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is not installed: Debian's package redis-server has it.")
    costs = asyncio.run(redis_costs(traffic))
    print(markdown(["call to Redis", "its CPU, µs"], [[name, f"{cost:.1f}"] for name, cost in costs.items()]))
    print(f"together: {sum(costs.values()):.0f} µs a request\n")
    kept = bytes_kept(traffic)
    print(markdown(["kept", "bytes"], [[name, f"{size:.0f}"] for name, size in kept.items()]))


async def redis_costs(traffic: dict[str, Any]) -> dict[str, float]:
    """Return microseconds of Redis' CPU by call, each made once in a request, as many times as `REQUESTS` says."""
    with running_redis() as (url, server):
        patient = RedisLink(url, Breaker(BreakerOptions(failures=5, rest_seconds=1)), 30)
        limiter = RedisLimiter(url, Breaker(BreakerOptions(failures=5, rest_seconds=1)), 30)
        sessions, answers = RedisSessions(patient, 25, 3600), RedisAnswers(patient, REQUESTS, 3600)
        session, vectors = _session(traffic), _vectors()
        answer = Answer("What does it mean?", text_of(traffic["reply_tokens"]), "stop", 600, 150, "chat/1", "u-1")
        tier = Tier(per_second=1000.0, burst=10_000, at_once=1)
        calls: dict[str, Callable[[int], Awaitable[Any]]] = {
            "rate limit": lambda n: limiter.take(f"caller-{n % 997}", tier),
            "session, kept": lambda n: sessions.keep(f"c-{n % 997}", session),
            "session, loaded": lambda n: sessions.load(f"c-{n % 997}"),
            "cache, kept": lambda n: answers.add("partition", vectors[n], answer),
            "cache, news asked for": lambda n: answers.refresh(),
        }
        costs = {name: await _cost(server, call) for name, call in calls.items()}
        await patient.close()
    return costs


async def _cost(server: psutil.Process, call: Callable[[int], Awaitable[Any]]) -> float:
    before = _cpu(server)
    for number in range(REQUESTS):
        await call(number)
    return (_cpu(server) - before) / REQUESTS * 1e6


def _cpu(server: psutil.Process) -> float:
    times = server.cpu_times()
    return times.user + times.system


def bytes_kept(traffic: dict[str, Any]) -> dict[str, float]:
    """Return the bytes of a reply in the history's file, indexes included, and of a feedback event before Kafka."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        history = SqliteHistory(path)
        for number in range(1000):
            history.save(_reply(number, traffic))
        said = FeedbackRequest(conversation_id="c-1", message_id="m-1", rating="down", consent=True)
        event = feedback_event(said, history, Guest(Caller(None, "anonymous"), "u-1"), ["public"])
        history.close()
        return {"a reply in the history": path.stat().st_size / 1000, "a feedback event": len(json.dumps(event))}


def _reply(number: int, traffic: dict[str, Any]) -> Reply:
    prompt: list[Message] = [{"role": "user", "content": text_of(traffic["prompt_tokens"])}]
    return Reply(
        f"m-{number}",
        f"c-{number}",
        prompt,
        "",
        text_of(traffic["reply_tokens"]),
        "stop",
        "chat/1",
        "control",
        "u-1",
        None,
        traffic["prompt_tokens"],
        traffic["reply_tokens"],
        "2026-01-01T00:00:00.000000+00:00",
    )


def _session(traffic: dict[str, Any]) -> Session:
    turn: list[Message] = [
        {"role": "user", "content": text_of(traffic["reply_tokens"] / 3)},
        {"role": "assistant", "content": text_of(traffic["reply_tokens"])},
    ]
    return Session("u-1", turn * SESSION_TURNS, 0, "m-1")


def _vectors() -> np.ndarray:
    rows = np.random.default_rng(7).standard_normal((REQUESTS, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def text_of(tokens: float) -> str:
    """Return English of about so many tokens, from the seed's help pages."""
    pages = sorted((ROOT / "data" / "seed" / "knowledge").rglob("*.md"))
    text = " ".join(page.read_text() for page in pages)
    return text[: round(tokens * CHARACTERS)]


@contextmanager
def running_redis() -> Iterator[tuple[str, psutil.Process]]:
    """Run a Redis on the loopback until the `with` block ends; yield its address and its process."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}", psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
