"""What a trace costs a request: the chat service in this process over an engine that answers at once.

    python -m benchmarks.traces [--requests 400]

Traces off, and on with spans sent to a collector on the loopback that reads and drops them; CPU time of this process,
the collector and the engine of the test kept in a process of their own. Rounds take turns, so that a busy machine is as
busy for both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from serving.app import create_app
from serving.history import SqliteHistory
from serving.trace import ENDPOINTS, Tracing, make_tracing, span
from tests.serving.conftest import OPTIONS, parts_of
from thumbwheel.engine import free_port
from thumbwheel.outbox import Outbox

ROUNDS = 7
QUESTION = {"role": "user", "content": "What does a white light on the Hub mean?"}
BODY = {"messages": [QUESTION], "temperature": 0, "stream": True}
SAID = "A white light means that the Hub is in pairing mode. Press the button for five seconds."


def outside(port: int) -> None:
    """Serve an engine that answers at once, and a collector that drops what it is sent."""

    async def complete(request: Request) -> Response:
        await request.body()
        lines: list[dict[str, Any]] = [{"choices": [{"delta": {"content": f"{word} "}}]} for word in SAID.split()]
        lines += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
        lines += [{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": len(lines)}}]
        text = "".join(f"data: {json.dumps(line)}\n\n" for line in lines) + "data: [DONE]\n\n"
        return StreamingResponse(iter([text]), media_type="text/event-stream")

    async def collect(request: Request) -> Response:
        await request.body()
        return Response(b"", media_type="application/x-protobuf")

    routes = [Route("/v1/chat/completions", complete, methods=["POST"])]
    routes += [Route("/v1/traces", collect, methods=["POST"])]
    uvicorn.run(Starlette(routes=routes), port=port, log_level="critical")


@asynccontextmanager
async def chat(folder: Path, engine: str, tracing: Tracing) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application, without a network between them."""
    history, outbox = SqliteHistory(folder / "history.db"), Outbox(folder / "outbox.db")
    app = create_app(lambda: replace(parts_of(history, engine, outbox, OPTIONS, folder), tracing=tracing))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://chat", timeout=60) as client:
            yield client


async def round_of(client: httpx.AsyncClient, requests: int) -> float:
    """Return the CPU seconds of one request, the mean of many."""
    began = time.process_time()
    for _ in range(requests):
        (await client.post("/v1/chat/completions", json=BODY)).raise_for_status()
    return (time.process_time() - began) / requests


async def measured(engine: str, requests: int) -> dict[str, float]:
    """Return the median CPU seconds of a request, off and on."""
    found: dict[str, list[float]] = {"off": [], "on": []}
    with tempfile.TemporaryDirectory() as place:
        tracings = {"off": Tracing(), "on": make_tracing("benchmark/1")}
        for name in found:
            (Path(place) / name).mkdir()
        async with (
            chat(Path(place) / "off", engine, tracings["off"]) as off,
            chat(Path(place) / "on", engine, tracings["on"]) as on,
        ):
            for client in (off, on):
                await round_of(client, requests // 4)
            for _ in range(ROUNDS):
                found["off"].append(await round_of(off, requests))
                found["on"].append(await round_of(on, requests))
    return {name: statistics.median(values) for name, values in found.items()}


def span_off(count: int = 200_000) -> float:
    """Return the seconds of a span that is not made."""
    began = time.perf_counter()
    for _ in range(count):
        with span("guard") as one:
            one.set_attribute("n", 1)
    return (time.perf_counter() - began) / count


def request_off(count: int = 50_000) -> float:
    """Return the seconds that a request's id takes where nothing is traced."""
    tracing = Tracing()
    began = time.perf_counter()
    for _ in range(count):
        with tracing.request("POST", None) as current:
            assert current.id
    return (time.perf_counter() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=400)
    options = parser.parse_args()
    port = free_port()
    os.environ[ENDPOINTS[0]] = f"http://127.0.0.1:{port}"
    helper = get_context("spawn").Process(target=outside, args=(port,), daemon=True)
    helper.start()
    try:
        _wait(port)
        found = asyncio.run(measured(f"http://127.0.0.1:{port}", options.requests))
    finally:
        helper.terminate()
    print(f"a request, traces off: {found['off'] * 1e6:.0f} µs of CPU")
    print(f"a request, traces on:  {found['on'] * 1e6:.0f} µs, {(found['on'] - found['off']) * 1e6:+.0f} µs")
    print(f"off, of which the request's id {request_off() * 1e6:.1f} µs and a part's span {span_off() * 1e6:.2f} µs")


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.post(f"http://127.0.0.1:{port}/v1/traces", timeout=1)
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise SystemExit("the engine of this benchmark did not start")


if __name__ == "__main__":
    main()
