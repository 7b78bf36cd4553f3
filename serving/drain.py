"""The way out: answers under way are ended and nobody new is let in, for as long as the operator asks for it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.body import read_body
from serving.openai_api import ApiError

ANSWERS = "/v1/chat/completions"
ASKED = {"drain": True}
CLOSED_SECONDS = 10.0
"""How long the doors stay closed after the operator last asked, who may be killed before the service is."""
RETRY_SECONDS = 10.0
HELD = "thumbwheel.held"


class Doors:
    """Counts the answers that are being given, and may be closed to new ones for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.answering = 0
        self._clock, self._until = clock, -math.inf

    @property
    def are_closed(self) -> bool:
        return self._clock() < self._until

    def close(self) -> None:
        """Let nobody in for `CLOSED_SECONDS`."""
        self._until = self._clock() + CLOSED_SECONDS

    def enter(self) -> None:
        """Raises ApiError, 503 with Retry-After, while the doors are closed."""
        if self.are_closed:
            message = "this service is being stopped or renewed; please try again in a moment"
            raise ApiError(503, message, "shutting_down", retry_seconds=RETRY_SECONDS)


class Counted:
    """ASGI middleware: an answer counts, and holds what it holds, from its request until its last byte is sent."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self.app, self.doors = app, doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope.get("path", "").removesuffix("\n").endswith(ANSWERS):  # a route takes a line's end at its own end
            return await self.app(scope, receive, send)
        self.doors.answering += 1
        try:
            with ExitStack() as scope[HELD]:
                await self.app(scope, receive, send)
        finally:
            self.doors.answering -= 1


def hold(request: Request, what: AbstractContextManager[None]) -> None:
    """Hold something until the answer's last byte is sent, its client is gone, or it failed."""
    request.scope[HELD].enter_context(what)


def add_doors(app: FastAPI) -> None:
    """Give an application doors, and the operator the route that closes them."""
    app.state.doors = Doors()
    app.add_middleware(Counted, doors=app.state.doors)
    app.post("/v1/drain", response_model=None, include_in_schema=False)(drain)


async def drain(request: Request) -> Response:
    """Close the doors, and say how many answers are under way and how many seconds they may take in all.

    `X-Operator-Proof` is as for `/v1/erasures`. Who drains asks again and again, until there are none.
    """
    parts, body = request.app.state.parts, await read_body(request)
    if not parts.entry.is_operator(body, request.headers.get("X-Operator-Proof", "")) or json.loads(body) != ASKED:
        raise ApiError(403, "this is for the operator alone", "not_the_operator")
    doors: Doors = request.app.state.doors
    doors.close()
    seconds = parts.options.admission.answer_seconds
    return JSONResponse({"object": "drain", "answering": doors.answering, "seconds": seconds})
