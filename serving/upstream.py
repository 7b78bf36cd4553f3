"""The engine as the orchestrator sees it: any OpenAI-compatible server, always read as a stream.

Reading a stream even for a whole answer gives both kinds of request the same text, and lets either be cancelled.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from serving.breaker import Breaker
from serving.openai_api import ApiError
from serving.trace import outgoing, span

logger = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(connect=5, read=60, write=30, pool=30)
"""Seconds; `read` is the longest silence between two pieces of an answer."""
LIMITS = httpx.Limits(max_connections=512, max_keepalive_connections=64)
RETRY_SECONDS = 2.0
"""What a client is told to wait for an engine that is full or away."""


@dataclass(frozen=True)
class Piece:
    """A part of an answer; the last ones carry how it ended and what it cost."""

    text: str = ""
    finish: str | None = None
    prompt_tokens: int = 0
    reply_tokens: int = 0


class Upstream:
    """A client of one engine, at `http://…` or at `file://…`, the socket that BentoML gives a dependency."""

    def __init__(self, url: str, breaker: Breaker) -> None:
        self._breaker = breaker
        parts = urlsplit(url)
        socket = unquote(parts.path) if parts.scheme == "file" else None
        self._client = httpx.AsyncClient(
            base_url="http://engine" if socket else url,
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=LIMITS) if socket else None,
            timeout=TIMEOUT,
            limits=LIMITS,
            trust_env=False,
        )

    async def stream(self, payload: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of an answer; closing the iterator cancels the request in the engine.

        Raises:
            ApiError: 400 when the engine refuses the request, 429 when it is full, 503 when it is down or dies.
        """
        if not self._breaker.allows():
            raise unavailable("the breaker is open", self._breaker.retry_seconds())
        body = {**payload, "stream": True, "stream_options": {"include_usage": True}}
        try:
            async with aclosing(self._answer(body)) as pieces:
                async for piece in pieces:
                    yield piece
        except httpx.HTTPError as error:
            self._breaker.failed()
            raise unavailable(repr(error)) from None
        except ApiError as error:
            self._judge(error)
            raise
        self._breaker.succeeded()

    async def _answer(self, body: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        with span("engine") as traced:
            request = self._client.stream("POST", "/v1/chat/completions", json=body, headers=outgoing(traced))
            async with request as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await response.aread())
                begun = False
                async for piece in _pieces(response):
                    if piece.text and not begun:
                        begun = True
                        traced.add_event("first_token")
                    if piece.reply_tokens:
                        traced.set_attribute("gen_ai.usage.output_tokens", piece.reply_tokens)
                    yield piece

    def _judge(self, error: ApiError) -> None:
        """Count a broken engine; one that refuses a request, or is full, is alive."""
        if error.status >= 500:
            self._breaker.failed()
        else:
            self._breaker.succeeded()

    async def is_ready(self) -> bool:
        """Tell whether the engine answers its health check."""
        try:
            return (await self._client.get("/health", timeout=5)).status_code == 200
        except httpx.HTTPError:
            return False

    async def close(self) -> None:
        await self._client.aclose()


def unavailable(detail: str, retry_seconds: float = RETRY_SECONDS) -> ApiError:
    """Return the refusal that a user sees when the engine is not there; the detail is for the log."""
    logger.warning("the engine is unavailable: %s", detail)
    message = "the model is not available right now; please try again in a minute"
    return ApiError(503, message, "engine_unavailable", retry_seconds=retry_seconds)


async def _pieces(response: httpx.Response) -> AsyncIterator[Piece]:
    finished = False
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        piece = _piece(json.loads(data))
        finished = finished or piece.finish is not None
        yield piece
    if not finished:
        raise unavailable("the answer broke off")


def _piece(value: dict[str, Any]) -> Piece:
    if "error" in value:
        raise unavailable("the engine reported an error")
    usage = value.get("usage") or {}
    choice = (value.get("choices") or [{}])[0]
    return Piece(
        text=(choice.get("delta") or {}).get("content") or "",
        finish=choice.get("finish_reason"),
        prompt_tokens=usage.get("prompt_tokens", 0),
        reply_tokens=usage.get("completion_tokens", 0),
    )


def _refusal(status: int, body: bytes) -> ApiError:
    message = _message(body)
    if status == 400 and "context length" in message:
        return ApiError(400, "the conversation is too long for the model; start a new one", "context_length_exceeded")
    if status in (400, 422):
        return ApiError(400, message, "invalid_value")
    if status == 429:
        message = "too many requests at once; try again in a moment"
        return ApiError(429, message, "rate_limit_exceeded", retry_seconds=RETRY_SECONDS)
    return unavailable(f"status {status}")


def _message(body: bytes) -> str:
    try:
        value = json.loads(body)
        return str((value.get("error") or value)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "the engine refused the request"
