"""The engine as the orchestrator sees it: any OpenAI-compatible server, asked for a stream or for a whole answer.

What comes in one read of the network is one piece: where we are slower than the engine, pieces grow and we catch up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from serving.breaker import Breaker
from serving.openai_api import ApiError

logger = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
"""Seconds; `sock_read` is the longest silence between two pieces of an answer."""
WHOLE_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)
"""Of a whole answer, which is silence until it is there; the admission's deadline ends it."""
CONNECTIONS = 512
KEPT_SECONDS = 4
"""How long a connection is kept for the next request: less than the five seconds after which vLLM closes it."""
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
        self._socket = unquote(parts.path) if parts.scheme == "file" else None
        self._url = "http://engine" if self._socket else url
        self._opened: aiohttp.ClientSession | None = None

    async def stream(self, payload: dict[str, Any], whole: bool = False) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of an answer, or the one that is all of it; closing the iterator cancels it in the engine.

        Raises:
            ApiError: 400 when the engine refuses the request, 429 when it is full, 503 when it is down or dies.
        """
        if not self._breaker.allows():
            raise unavailable("the breaker is open", self._breaker.retry_seconds())
        asked = {"stream": False} if whole else {"stream": True, "stream_options": {"include_usage": True}}
        url, timeout = f"{self._url}/v1/chat/completions", WHOLE_TIMEOUT if whole else TIMEOUT
        try:
            async with self._session().post(url, json={**payload, **asked}, timeout=timeout) as response:
                if response.status != 200:
                    raise _refusal(response.status, await response.read())
                async for piece in _whole(response) if whole else _pieces(response):
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            self._breaker.failed()
            raise unavailable(repr(error)) from None
        except ApiError as error:
            self._judge(error)
            raise
        self._breaker.succeeded()

    def _session(self) -> aiohttp.ClientSession:
        """Return the session; its connections belong to the loop in which it is first asked for."""
        if self._opened is None:
            connector: aiohttp.BaseConnector
            if self._socket:
                connector = aiohttp.UnixConnector(self._socket, limit=CONNECTIONS, keepalive_timeout=KEPT_SECONDS)
            else:
                connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEPT_SECONDS)
            self._opened = aiohttp.ClientSession(connector=connector)
        return self._opened

    def _judge(self, error: ApiError) -> None:
        """Count a broken engine; one that refuses a request, or is full, is alive."""
        if error.status >= 500:
            self._breaker.failed()
        else:
            self._breaker.succeeded()

    async def is_ready(self) -> bool:
        """Tell whether the engine answers its health check."""
        try:
            async with self._session().get(f"{self._url}/health", timeout=aiohttp.ClientTimeout(total=5)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()


def unavailable(detail: str, retry_seconds: float = RETRY_SECONDS) -> ApiError:
    """Return the refusal that a user sees when the engine is not there; the detail is for the log."""
    logger.warning("the engine is unavailable: %s", detail)
    message = "the model is not available right now; please try again in a minute"
    return ApiError(503, message, "engine_unavailable", retry_seconds=retry_seconds)


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[Piece]:
    """Yield a piece for each read of the network that ends a line."""
    finished, rest = False, b""
    async for block in response.content.iter_any():
        *lines, rest = (rest + block).split(b"\n")
        piece, error = _joined(lines)
        finished = finished or piece.finish is not None
        yield piece
        if error is not None:
            raise error
    if not finished:
        raise unavailable("the answer broke off")


def _joined(lines: Sequence[bytes]) -> tuple[Piece, ApiError | None]:
    """Return what some lines of a stream say as one piece, and the error that they end with."""
    piece = Piece()
    for line in lines:
        data = line[5:].strip()
        if not line.startswith(b"data:") or data == b"[DONE]":
            continue
        value = json.loads(data)
        if "error" in value:
            return piece, unavailable("the engine reported an error")
        choice = (value.get("choices") or [{}])[0]
        piece = _with(piece, (choice.get("delta") or {}).get("content"), choice, value)
    return piece, None


async def _whole(response: aiohttp.ClientResponse) -> AsyncIterator[Piece]:
    """Yield a whole answer."""
    try:
        value = json.loads(await response.read())
        choice = value["choices"][0]
        yield _with(Piece(), choice["message"]["content"], choice, value)
    except (ValueError, LookupError, TypeError):
        raise unavailable("the answer is none") from None


def _with(piece: Piece, text: str | None, choice: dict[str, Any], value: dict[str, Any]) -> Piece:
    usage = value.get("usage") or {}
    return Piece(
        text=piece.text + (text or ""),
        finish=choice.get("finish_reason") or piece.finish,
        prompt_tokens=usage.get("prompt_tokens", piece.prompt_tokens),
        reply_tokens=usage.get("completion_tokens", piece.reply_tokens),
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
