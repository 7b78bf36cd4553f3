"""What a user may see and erase of what the chat service keeps of them."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving import metrics
from serving.body import read_body
from serving.entry import Guest
from serving.openai_api import ApiError
from thumbwheel.errors import StoreError

if TYPE_CHECKING:
    from serving.app import Parts


def add_routes(app: FastAPI) -> None:
    app.get("/v1/profile", response_model=None)(profile)
    app.delete("/v1/profile", response_model=None)(forget_profile)
    app.delete("/v1/me", response_model=None)(forget_me)
    app.post("/v1/erasures", response_model=None, include_in_schema=False)(erasures)


async def profile(request: Request, user: str | None = None) -> Response:
    """Return what is known of who asks, and the hash by which they are known, for whoever is to forget them."""
    parts: Parts = request.app.state.parts
    guest = await _themselves(request, user)
    known = parts.memory.profiles.of(guest.user)
    return guest.mark(JSONResponse({"object": "profile", "user": guest.user, **vars(known)}))


async def forget_profile(request: Request, user: str | None = None) -> Response:
    """Erase what is known of who asks; what they said stays in their conversations."""
    parts: Parts = request.app.state.parts
    guest = await _themselves(request, user)
    gone = parts.memory.profiles.erase_user(guest.user)
    metrics.ERASED.labels("profile").inc(gone)
    return guest.mark(JSONResponse({"object": "profile.deleted", "deleted": True, "statements": gone}))


async def forget_me(request: Request, user: str | None = None) -> Response:
    """Erase who asks: conversations, profile, recalled exchanges, sessions and cached answers; and of an answer that
    this process is giving them, nothing is kept.

    Feedback that they gave has left this service for the lake, with consent or without, and is erased there, by
    `make forget`.
    """
    guest = await _themselves(request, user)
    request.app.state.under_way.forget(guest.user)
    gone = await erase_user(request.app.state.parts, guest.user)
    return guest.mark(JSONResponse({"object": "user.deleted", "deleted": True, "erased": gone}))


async def erasures(request: Request) -> Response:
    """Erase the users whom the operator names by their hashes; `X-Operator-Proof` is an HMAC of the body by their key.

    Whoever has the key has the files that this erases, so it opens nothing; it is for what a process holds in memory.
    """
    parts: Parts = request.app.state.parts
    body = await read_body(request)
    if not parts.entry.is_operator(body, request.headers.get("X-Operator-Proof", "")):
        raise ApiError(403, "this is for the operator alone", "not_the_operator")
    gone: Counter[str] = Counter()
    for user in json.loads(body)["users"]:
        request.app.state.under_way.forget(user)
        gone.update(await erase_user(parts, user))
    return JSONResponse({"object": "erasure", "erased": dict(gone)})


async def erase_user(parts: Parts, user: str) -> dict[str, int]:
    """Erase a user from every store; return how many records went, by store.

    Raises:
        ApiError: 503 where a store is away; what the others held is gone, and the call is to be made again.
    """
    gone: dict[str, Any] = {"history": await to_thread.run_sync(parts.history.erase_user, user)}
    try:
        gone |= await parts.memory.erase_user(user)
        gone["cache"] = await parts.cache.erase_user(user) if parts.cache else 0
    except StoreError as error:
        raise ApiError(
            503, f"not all could be erased, try again: {error}", "erasure_incomplete", retry_seconds=5
        ) from None
    for store, count in gone.items():
        metrics.ERASED.labels(store).inc(count)
    return gone


async def _themselves(request: Request, user: str | None) -> Guest:
    """Return who asks, if it is proven that it is they.

    Raises:
        ApiError: 401 as at the entry; 403 for a user whom anybody without credentials could name.
    """
    entry = request.app.state.parts.entry
    guest: Guest = entry.named(await entry.guest(request), user)
    if not guest.is_proven:
        raise ApiError(403, "without an API key or a token nobody is known to be this user", "user_not_proven", "user")
    return guest
