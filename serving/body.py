"""The body of a request, read as long as it is not too long."""

from __future__ import annotations

from starlette.requests import Request

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
