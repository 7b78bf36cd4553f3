"""An engine that costs next to nothing: an OpenAI-compatible server that streams the same words to everybody.

python -m benchmarks.serving_engine PORT SECONDS        # a word; started by benchmarks.serving
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn

from serving.heap import settle

TEXT = (
    "The light on the hub blinks amber while it looks for the network, and turns white when it has found it. If it "
    "stays amber, move the hub closer to the router and press the button once."
)


def pieces(text: str) -> list[str]:
    """Cut a text into words with the blank before each, as an engine's tokens are."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "model", "choices": [choice]}


WORDS = pieces(TEXT)
USAGE = {"prompt_tokens": 40, "completion_tokens": len(WORDS), "total_tokens": 40 + len(WORDS)}
EVENTS = [event(chunk({"role": "assistant", "content": ""}))]
EVENTS += [event(chunk({"content": word})) for word in WORDS] + [event(chunk({}, "stop"))]
LAST = event({**chunk({}), "choices": [], "usage": USAGE}) + b"data: [DONE]\n\n"
WHOLE = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()


def app_at(pace: float) -> Any:
    """Return an application that answers every POST with the words, `pace` seconds each, and all else with `ok`."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        wished = await _wished(scope, receive)
        kind = b"text/event-stream" if wished.get("stream") else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        if not wished.get("stream"):
            await asyncio.sleep(pace * len(EVENTS) if wished else 0)
            await send({"type": "http.response.body", "body": WHOLE if wished else b'"ok"'})
            return
        for item in EVENTS:
            await send({"type": "http.response.body", "body": item, "more_body": True})
            await asyncio.sleep(pace)
        await send({"type": "http.response.body", "body": LAST})

    return app


async def _wished(scope: dict[str, Any], receive: Any) -> dict[str, Any]:
    body, more = b"", scope["method"] == "POST"
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return dict(json.loads(body)) if body else {}


if __name__ == "__main__":
    port, pace = int(sys.argv[1]), float(sys.argv[2])
    settle()  # its pauses would be taken for those of the servers before it
    uvicorn.run(app_at(pace), host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off")
