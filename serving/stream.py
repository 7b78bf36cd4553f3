"""An answer on its way to the client: server-sent events, or whole, with what we say of it beside OpenAI's fields."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from serving.draft import Draft
from serving.openai_api import COMPLETION, DONE, ApiError, chunk, completion, event, text_events
from serving.upstream import Piece

logger = logging.getLogger(__name__)


UNHELD = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""What keeps caches and nginx from holding a stream back until it is whole."""


class EventStream(StreamingResponse):
    """Server-sent events whose source is closed, and so cancelled in the engine, as soon as the client is gone."""

    def __init__(self, source: AsyncGenerator[bytes, None]) -> None:
        super().__init__(source, media_type="text/event-stream", headers=UNHELD)
        self.source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            pass
        finally:
            with anyio.CancelScope(shield=True):
                await self.source.aclose()


async def events(
    draft: Draft, first: Piece | None, pieces: AsyncGenerator[Piece, None], usage: bool
) -> AsyncGenerator[bytes, None]:
    """Yield an answer as OpenAI streams it, its first piece already at hand."""
    identity = _identity(draft)
    said = text_events(identity)
    async with aclosing(pieces):
        content = (first.text or (None if first.calls else "")) if first else ""
        yield event(chunk(identity, {"role": "assistant", "content": content}))
        try:
            for part in first.calls if first else ():
                yield event(chunk(identity, {"tool_calls": [part.delta()]}))
            async for piece in pieces:
                if piece.text:
                    yield said(piece.text)
                for part in piece.calls:
                    yield event(chunk(identity, {"tool_calls": [part.delta()]}))
        except ApiError as error:
            yield event(error.body())
            return
        except Exception:
            logger.exception("a stream broke")
            yield event(ApiError(500, "something broke on our side", "internal_error").body())
            return
    yield event({**chunk(identity, {}, draft.finish), **_ours(draft)})
    if usage:
        yield event({**identity, "object": "chat.completion.chunk", "choices": [], "usage": draft.usage})
    yield DONE


def whole(draft: Draft) -> dict[str, Any]:
    """Return an answer that is not streamed."""
    return {**completion(_identity(draft), draft.text, draft.calls, draft.finish, draft.usage), **_ours(draft)}


def _identity(draft: Draft) -> dict[str, Any]:
    return {
        "id": f"{COMPLETION}{draft.message_id}",
        "created": int(time.time()),
        "model": draft.model,
        "conversation_id": draft.conversation_id,
        "message_id": draft.message_id,
    }


def _ours(draft: Draft) -> dict[str, Any]:
    """Return our fields: the arm, the guardrails' layer and rule where they ended it, the sources where it has some."""
    guard = {"guard": draft.verdict.public()} if draft.verdict else {}
    return {"arm": draft.arm, **guard, **({"citations": draft.citations} if draft.retrieved else {})}
