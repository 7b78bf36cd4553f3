"""A feedback event as a sender may hand it in: what it must hold, and what is wrong with one that does not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from thumbwheel.errors import FeedbackError
from thumbwheel.records import FEEDBACK, FEEDBACK_KINDS, ROLES, SPAN_LABELS

RATINGS = ("up", "down")
REQUIRED = ("event_id", "conversation_id", "message_id", "user", "kind", "created_at")
OPTIONAL = ("rating", "reason", "correction", "replaces", "model", "arm", "tools")
NEEDED_BY = {"rating": ("rating", "reason", "spans"), "edit": ("correction",), "regeneration": ("replaces",)}
"""The optional fields of which a kind of event needs at least one."""


def validated(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event with exactly the fields of `records.FEEDBACK`, its texts untouched, empty optional ones null.

    Raises:
        FeedbackError: the event does not fit; the message names the field.
    """
    if unknown := sorted(set(event) - set(FEEDBACK.names)):
        raise FeedbackError(f"'{unknown[0]}' is not a field of a feedback event ({', '.join(FEEDBACK.names)}).")
    row: dict[str, Any] = {name: _required_text(event, name) for name in REQUIRED}
    row |= {name: _optional_text(event, name) for name in OPTIONAL}
    row |= {"prompt": _prompt(event.get("prompt")), "reply": _text("reply", event.get("reply"))}
    row["spans"] = _spans(event.get("spans"), row["reply"])
    if not isinstance(consent := event.get("consent"), bool):
        raise FeedbackError(f"'consent' = {consent!r}: it must be true or false.")
    _refuse_unfit(row)
    return {name: ({**row, "consent": consent})[name] for name in FEEDBACK.names}


def _refuse_unfit(row: Mapping[str, Any]) -> None:
    if row["kind"] not in FEEDBACK_KINDS:
        raise FeedbackError(f"'kind' = {row['kind']!r}: it must be one of {', '.join(FEEDBACK_KINDS)}.")
    if row["rating"] not in (None, *RATINGS):
        raise FeedbackError(f"'rating' = {row['rating']!r}: it must be one of {', '.join(RATINGS)}, or null.")
    needed = NEEDED_BY.get(row["kind"], ())
    if needed and not any(row[name] for name in needed):
        raise FeedbackError(f"'{needed[0]}' is missing: an event of kind '{row['kind']}' needs it.")
    try:
        aware = datetime.fromisoformat(row["created_at"]).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise FeedbackError(
            f"'created_at' = {row['created_at']!r}: it must be ISO 8601 with a time zone, such as 2026-01-31T09:30:00Z."
        )


def _prompt(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise FeedbackError("'prompt' must be a list of at least one message.")
    for message in value:
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise FeedbackError("'prompt' holds something that is not a message with 'role' and 'content' alone.")
        if message["role"] not in ROLES:
            raise FeedbackError(f"'prompt' has the role {message['role']!r}; known: {', '.join(ROLES)}.")
    return [{"role": m["role"], "content": _text("prompt", m["content"])} for m in value]


def _spans(value: Any, reply: str) -> list[dict[str, Any]] | None:
    if not value:
        return None
    if not isinstance(value, list) or not all(isinstance(span, Mapping) for span in value):
        raise FeedbackError("'spans' must be a list of objects with 'start', 'end' and 'label'.")
    return [_span(span, len(reply)) for span in value]


def _span(span: Mapping[str, Any], length: int) -> dict[str, Any]:
    if set(span) != {"start", "end", "label"} or span["label"] not in SPAN_LABELS:
        raise FeedbackError(
            f"'spans' holds {dict(span)!r}: it needs start, end and a label ({', '.join(SPAN_LABELS)})."
        )
    start, end = span["start"], span["end"]
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        raise FeedbackError(f"'spans' holds {start!r} to {end!r}, which is no part of a reply of {length} characters.")
    return {"start": start, "end": end, "label": span["label"]}


def _required_text(event: Mapping[str, Any], name: str) -> str:
    if not _text(name, event.get(name)):
        raise FeedbackError(f"'{name}' is empty.")
    return str(event[name])


def _optional_text(event: Mapping[str, Any], name: str) -> str | None:
    return None if event.get(name) is None else _text(name, event[name]) or None


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise FeedbackError(f"'{name}' " + ("is missing." if value is None else f"= {value!r:.80}: it must be text."))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FeedbackError(f"'{name}' holds a lone surrogate, which is not text; send valid UTF-8.") from None
    return value
