"""The engine as the orchestrator sees it: any OpenAI-compatible server, asked for a stream or for a whole answer.

What comes in one read of the network is one piece: where we are slower than the engine, pieces grow and we catch up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from serving.breaker import Breaker
from serving.openai_api import ApiError
from serving.tools.fragments import Fragments, fragments_of
from serving.trace import outgoing, span

logger = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
"""Seconds; `sock_read` is the longest silence between two pieces of an answer."""
WHOLE_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)
"""Of a whole answer, which is silence until it is there; the admission's deadline ends it."""
METRICS_TIMEOUT = aiohttp.ClientTimeout(total=2)
CONNECTIONS = 512
KEPT_SECONDS = 4
"""How long a connection is kept for the next request: less than the five seconds after which vLLM closes it."""
RETRY_SECONDS = 2.0
"""What a client is told to wait for an engine that is full or away."""
AWAY = "the model is not available right now; please try again in a minute"
FAILED = "the model failed at this request, and at no other: its engine may not be able to keep to the schema in it"
SCHEMAS = {"response_format", "tools"}
"""Fields of a request that hold schemas of the client's own, by some of which vLLM fails at that request alone."""


@dataclass(frozen=True)
class Piece:
    """A part of an answer; the last ones carry how it ended and what it cost.

    `finish` says that the model was done, `stop`, whether it spoke or called tools: engines differ in when they say
    `tool_calls`, and what was called shows in `calls`.
    """

    text: str = ""
    finish: str | None = None
    prompt_tokens: int = 0
    reply_tokens: int = 0
    calls: Fragments = ()


class UnknownModelError(ApiError):
    """The engine lives and has no model of the name that it was asked for."""


class FaultError(ApiError):
    """The engine lives and says that it failed at this request."""


class Upstream:
    """A client of one engine, at `http://…` or at `file://…`, the socket that BentoML gives a dependency."""

    def __init__(self, url: str, breaker: Breaker, key: str | None = None) -> None:
        self._breaker = breaker
        parts = urlsplit(url)
        self._socket = unquote(parts.path) if parts.scheme == "file" else None
        self._url = "http://engine" if self._socket else url
        self._headers = {"Authorization": f"Bearer {key}"} if key else None
        self._opened: aiohttp.ClientSession | None = None

    @property
    def is_resting(self) -> bool:
        """Tell whether the engine has failed again and again, and is not to be tried yet."""
        return self._breaker.retry_seconds() > 0

    async def stream(self, payload: dict[str, Any], whole: bool = False) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of an answer, or the one that is all of it; closing the iterator cancels it in the engine.

        Raises:
            ApiError: 400 when the engine refuses the request, 429 when it is full, 503 when it is down or dies.
        """
        if not self._breaker.allows():
            raise unavailable("the breaker is open", self._breaker.retry_seconds())
        try:
            async with aclosing(self._answer(payload, whole)) as pieces:
                async for piece in pieces:
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            self._breaker.failed()
            raise unavailable(repr(error)) from None
        except FaultError:
            if payload.keys() & SCHEMAS and await self.is_ready():
                raise ApiError(503, FAILED, "engine_unavailable", retry_seconds=RETRY_SECONDS) from None
            self._breaker.failed()
            raise
        except ApiError as error:
            self._judge(error)
            raise
        self._breaker.succeeded()

    def fell_silent(self) -> None:
        """Count an engine that took a request and did not begin to answer it in time."""
        self._breaker.failed()

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Have the engine serve the adapter in `folder` as the model `name`, beside its base.

        Raises:
            ApiError: 503 when it does not.
        """
        body = {"lora_name": name, "lora_path": str(folder), "load_inplace": True}
        try:
            async with self._session().post(
                f"{self._url}/v1/load_lora_adapter", json=body, timeout=TIMEOUT
            ) as response:
                if response.status != 200:
                    raise unavailable(f"adapter '{name}': {_message(await response.read())}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unavailable(repr(error)) from None

    async def _answer(self, payload: dict[str, Any], whole: bool) -> AsyncGenerator[Piece, None]:
        asked = {"stream": False} if whole else {"stream": True, "stream_options": {"include_usage": True}}
        url, timeout, body = (
            f"{self._url}/v1/chat/completions",
            WHOLE_TIMEOUT if whole else TIMEOUT,
            {**payload, **asked},
        )
        with span("engine") as traced:
            async with self._session().post(url, json=body, timeout=timeout, headers=outgoing(traced)) as response:
                if response.status != 200:
                    raise _refusal(response.status, await response.read())
                begun = whole
                async for piece in _whole(response) if whole else _pieces(response):
                    if (piece.text or piece.calls) and not begun:
                        begun = True
                        traced.add_event("first_token")
                    if piece.reply_tokens:
                        traced.set_attribute("gen_ai.usage.output_tokens", piece.reply_tokens)
                    yield piece

    def _session(self) -> aiohttp.ClientSession:
        """Return the session; its connections belong to the loop in which it is first asked for."""
        if self._opened is None:
            connector: aiohttp.BaseConnector
            if self._socket:
                connector = aiohttp.UnixConnector(self._socket, limit=CONNECTIONS, keepalive_timeout=KEPT_SECONDS)
            else:
                connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEPT_SECONDS)
            self._opened = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self._opened

    def _judge(self, error: ApiError) -> None:
        """Count a broken engine; one that refuses a request, lacks a model, or is full, is alive."""
        if error.status >= 500 and not isinstance(error, UnknownModelError):
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

    async def metrics(self) -> str:
        """Return the engine's own metrics in Prometheus' text format; empty where it has none to give."""
        try:
            async with self._session().get(f"{self._url}/metrics", timeout=METRICS_TIMEOUT) as response:
                return await response.text() if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError):
            return ""

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()


def unavailable(detail: str, retry_seconds: float = RETRY_SECONDS) -> ApiError:
    """Return the refusal that a user sees when the engine is not there; the detail is for the log."""
    logger.warning("the engine is unavailable: %s", detail)
    return ApiError(503, AWAY, "engine_unavailable", retry_seconds=retry_seconds)


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
            return piece, _reported(value["error"], data)
        choice = (value.get("choices") or [{}])[0]
        piece = _with(piece, choice.get("delta") or {}, choice, value)
    return piece, None


async def _whole(response: aiohttp.ClientResponse) -> AsyncIterator[Piece]:
    """Yield a whole answer."""
    try:
        value = json.loads(await response.read())
        choice = value["choices"][0]
        yield _with(Piece(), choice["message"], choice, value)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise unavailable("the answer is none") from None


def _with(piece: Piece, told: dict[str, Any], choice: dict[str, Any], value: dict[str, Any]) -> Piece:
    """Return a piece with what more is `told`, by a message or a delta."""
    usage, finish, calls = value.get("usage") or {}, choice.get("finish_reason"), told.get("tool_calls")
    return Piece(
        text=piece.text + (told.get("content") or ""),
        calls=piece.calls + fragments_of(calls) if calls else piece.calls,
        finish=("stop" if finish == "tool_calls" else finish) or piece.finish,
        prompt_tokens=usage.get("prompt_tokens", piece.prompt_tokens),
        reply_tokens=usage.get("completion_tokens", piece.reply_tokens),
    )


def _reported(error: Any, body: bytes) -> ApiError:
    """Return the refusal for an error in a stream: vLLM finds out in it, too, what is wrong with a request."""
    code = error.get("code") if isinstance(error, dict) else None
    return _refusal(code if isinstance(code, int) else 500, body)


def _refusal(status: int, body: bytes) -> ApiError:
    message = _message(body)
    if status == 400 and "context length" in message:
        return ApiError(400, "the conversation is too long for the model; start a new one", "context_length_exceeded")
    if status in (400, 422):
        return ApiError(400, message, "invalid_value")
    if status == 429:
        message = "too many requests at once; try again in a moment"
        return ApiError(429, message, "rate_limit_exceeded", retry_seconds=RETRY_SECONDS)
    if status == 404:
        logger.warning("the engine lacks the model: %s", message)
        return UnknownModelError(503, AWAY, "engine_unavailable", retry_seconds=RETRY_SECONDS)
    if status == 500:
        logger.warning("the engine failed at a request: %s", message)
        return FaultError(503, AWAY, "engine_unavailable", retry_seconds=RETRY_SECONDS)
    return unavailable(f"status {status}")


def _message(body: bytes) -> str:
    try:
        value = json.loads(body)
        return str((value.get("error") or value)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "the engine refused the request"
