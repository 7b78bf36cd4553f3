"""From a thumb to a feedback event: prompt and reply come from the history, byte for byte, never from the browser."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any, Protocol

from serving.draft import now
from serving.entry import Guest
from serving.history import FILTERED, History, Messages, Reply
from serving.openai_api import ApiError, FeedbackRequest
from serving.retrieval.sources import tenants_of
from serving.tools.request import uses_tools

NAMESPACE = uuid.UUID("6c1f7a52-8a55-4c7e-9a2d-0f5c6f0f8b1e")
"""Of the ids of events that are sent with a key of their own, so that one sent twice is one."""


class Sink(Protocol):
    """Where events go; an append that returns is durable."""

    def append(self, event: dict[str, Any]) -> None: ...


def feedback_event(
    request: FeedbackRequest, history: History, guest: Guest, shared_tenants: Sequence[str], once: str | None = None
) -> dict[str, Any]:
    """Return the event, a row of `records.FEEDBACK`, for what a user said of a reply.

    What a user sends of a reply with the same key `once` is the same event, however often it is sent; something else
    with that key is another, for it must not be lost.

    Two kinds of reply are never learnt from, whatever their user consents to: one that a tenant's own documents led to,
    for what the model learns, everybody can ask it; and one that the guardrails ended, for the model did not write the
    refusal, and who corrects it could teach what it refused.

    Raises:
        ApiError: 404 for a reply that is not there, 400 for feedback that says nothing or contradicts the history.
    """
    reply = history.find(request.message_id)
    if (
        reply is None
        or reply.conversation_id != request.conversation_id
        or not guest.may_see(reply.conversation_id, reply.user)
    ):
        raise ApiError(404, f"there is no message '{request.message_id}' here", "message_not_found", "message_id")
    if not (request.rating or request.reason or request.correction or request.spans):
        raise ApiError(400, "one of rating, reason, correction and spans is needed", "invalid_value", "rating")
    if any(not span.start < span.end <= len(reply.reply) for span in request.spans):
        raise ApiError(400, "spans: one is no part of the reply", "invalid_value", "spans")
    if request.replaces not in (None, reply.replaces):
        raise ApiError(400, "replaces: the reply did not replace that message", "invalid_value", "replaces")
    if request.correction is not None and request.correction == reply.reply:
        raise ApiError(400, "correction: is the reply itself", "invalid_value", "correction")
    is_private = not tenants_of(reply.retrieved) <= set(shared_tenants)
    is_learnt = request.consent and not is_private and reply.finish != FILTERED
    return _event(request, reply, guest.user, is_learnt) | {"event_id": event_id(request, guest.user, once)}


def event_id(request: FeedbackRequest, user: str, once: str | None) -> str:
    """Return the id of an event: drawn, or made of who sends it, by what key, and of all that is sent."""
    if once is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(NAMESPACE, f"{user}\n{once}\n{request.model_dump_json()}"))


def kind_of(request: FeedbackRequest, reply: Reply) -> str:
    """Return `edit` for a correction, `regeneration` for a thumb up on a second try, else `rating`."""
    if request.correction is not None:
        return "edit"
    return "regeneration" if reply.replaces and request.rating == "up" else "rating"


def _event(request: FeedbackRequest, reply: Reply, user: str, consent: bool) -> dict[str, Any]:
    return {
        "conversation_id": reply.conversation_id,
        "message_id": reply.message_id,
        "user": user,
        "kind": kind_of(request, reply),
        "rating": request.rating,
        "reason": request.reason,
        "correction": request.correction,
        "prompt": spoken(reply.prompt),
        "reply": reply.reply,
        "replaces": reply.replaces,
        "model": reply.model,
        "arm": reply.arm,
        "consent": consent,
        "created_at": now(),
        "spans": [span.model_dump() for span in request.spans] or None,
        "tools": tools_of(reply),
    }


def spoken(prompt: Messages) -> list[dict[str, str]]:
    """Return what of a prompt is talk: messages without calls, and without what tools answered."""
    return [{"role": m["role"], "content": m["content"]} for m in prompt if m["role"] != "tool" and m["content"]]


def tools_of(reply: Reply) -> str | None:
    """Return, as JSON, what an event's prompt and reply leave out of a reply in which tools had a part, else None."""
    if not (reply.calls or reply.offered or uses_tools(reply.prompt)):
        return None
    told = {"prompt": reply.prompt, "calls": reply.calls, **(reply.offered or {})}
    return json.dumps(told, ensure_ascii=False)
