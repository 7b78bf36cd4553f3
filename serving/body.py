"""A request's body, read as long as it is not too long, and its client, answered as long as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from serving.openai_api import MAX_BODY, ApiError


async def read_body(request: Request) -> bytes:
    """Return the body.

    Raises:
        ApiError: 400 for one that is too long.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise ApiError(400, f"the request is longer than {MAX_BODY:,} bytes", "request_too_large")
    return bytes(body)


@asynccontextmanager
async def while_there(request: Request) -> AsyncIterator[None]:
    """Cancel a `with` block when the client hangs up; its body has been read.

    Raises:
        ClientDisconnect: it did.
    """
    task, is_gone = asyncio.current_task(), False
    assert task is not None

    async def watch() -> None:
        nonlocal is_gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        is_gone = task.cancel()

    watcher = asyncio.ensure_future(watch())
    try:
        yield
    except asyncio.CancelledError:
        if is_gone and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        watcher.cancel()
