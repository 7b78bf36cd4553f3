"""The review page and its API, for bearers of a key or token of a reviewer's tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.body import read_body
from serving.entry import Guest
from serving.openai_api import ApiError, parse
from serving.review.desk import Desk
from serving.review.requests import VerdictRequest

if TYPE_CHECKING:
    from serving.app import Parts


def add_routes(app: FastAPI) -> None:
    app.get("/v1/review/next", response_model=None)(next_item)
    app.post("/v1/review/verdicts", response_model=None)(verdicts)


async def next_item(request: Request) -> Response:
    """Return the next item for who asks, how far the queue is, and how far reviewers agree."""
    desk, guest = await _reviewer(request)
    return JSONResponse(await to_thread.run_sync(desk.next, guest.user))


async def verdicts(request: Request) -> Response:
    """Take a verdict; it is durable when this answers."""
    desk, guest = await _reviewer(request)
    said = parse(VerdictRequest, await read_body(request))
    try:
        kept: dict[str, Any] = await to_thread.run_sync(desk.judge, guest.user, said)
    except OSError as error:
        raise ApiError(503, f"the verdict could not be stored: {error}", "feedback_unavailable") from None
    return JSONResponse(kept, 201)


async def _reviewer(request: Request) -> tuple[Desk, Guest]:
    """Return the desk and who asks.

    Raises:
        ApiError: 404 where the service has no desk, 401 for bad credentials, 403 for somebody who is no reviewer.
    """
    parts: Parts = request.app.state.parts
    if parts.desk is None:
        raise ApiError(404, "this service has no review queue", "no_review_queue")
    guest = await parts.entry.admit(request)
    if guest.caller.subject is None or guest.caller.tier not in parts.options.review.tiers:
        raise ApiError(403, "reviewing needs a reviewer's API key", "not_a_reviewer")
    return parts.desk, guest
