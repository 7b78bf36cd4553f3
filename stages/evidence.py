"""Weigh feedback: which events may be used, what the user thought of each message in the end, and what would mend it.

Used by `stages.pairs`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from thumbwheel.records import is_release
from thumbwheel.reviews import PREFERS_OTHER, PREFERS_REPLY, REPAIRED, TIE

Event = dict[str, Any]
Key = tuple[str, str]
"""A user and a message: what an opinion is about."""
REVIEWERS = ("review", "comparison")
AGREEING = 2
"""Reviewers who must prefer a reply for it to be learnt from."""
UNSAFE = "unsafe"
MARKED = {"wrong": "wrong", "toxic": UNSAFE}
"""The reasons that marked spans of a reply stand for."""


@dataclass(frozen=True)
class Evidence:
    """The events that may be used, by what they can show; the newest of each wins."""

    disliked: dict[Key, Event]
    liked: dict[Key, Event]
    edits: dict[Key, Event]
    reasons: dict[Key, set[str]]
    reviews: dict[str, list[Event]]
    successors: dict[Key, list[str]]


def weigh(events: Sequence[Event], minimum_age: timedelta, rejections: Counter[str]) -> Evidence:
    """Sort events (oldest first) into evidence, leaving out what has no consent, is too young, or was taken back.

    Consent and opinion are the last that the user gave on a message; an event that may not be used can still cancel.
    """
    opinions, consents = _last_words(events)
    youngest = max(map(time_of, events), default=datetime.max) - minimum_age
    evidence = Evidence({}, {}, {}, defaultdict(set), defaultdict(list), defaultdict(list))
    for event in events:
        if reason := _barred(event, consents, youngest, opinions):
            rejections[reason] += 1
        else:
            _file(event, evidence)
    mended = {message for message, events in evidence.reviews.items() if reviewed(events)}
    rejections["review_without_dislike"] += len(mended - {message for _, message in evidence.disliked})
    return evidence


def _last_words(events: Iterable[Event]) -> tuple[dict[Key, str], dict[Key, bool]]:
    opinions: dict[Key, str] = {}
    consents: dict[Key, bool] = {}
    for event in events:
        consents[key_of(event)] = event["consent"]
        if (opinion := opinion_of(event)) is not None:
            opinions[key_of(event)] = opinion
    return opinions, consents


def _barred(event: Event, consents: dict[Key, bool], youngest: datetime, opinions: dict[Key, str]) -> str | None:
    """Return why an event may not be used, or None.

    A preference is two texts to one prompt of texts. Where tools had a part, the prompt lacks what the model saw of
    them, and a call is no text: learning from the rest would teach to answer without the tool.
    """
    if not (event["consent"] and consents[key_of(event)]):
        return "no_consent"
    if not is_release(event["model"]):
        return "other_model"
    if event.get("tools"):
        return "tool_use"
    if time_of(event) > youngest:
        return "too_young"
    if event["prompt"][-1]["role"] != "user":
        return "no_question"
    if not event["reply"].strip():
        return "empty_reply"
    if (opinion := opinion_of(event)) is not None and opinion != opinions[key_of(event)]:
        return "flipped"
    return None


def _file(event: Event, evidence: Evidence) -> None:
    key, opinion = key_of(event), opinion_of(event)
    if event["kind"] in REVIEWERS:
        if event["kind"] == "review":
            evidence.reviews[event["message_id"]].append(event)
        return
    if opinion == "down":
        evidence.disliked[key] = event
    if opinion == "up":
        evidence.liked[key] = event
    if event["kind"] == "edit" and opinion == "down":
        evidence.edits[key] = event
    evidence.reasons[key] |= reasons_of(event)
    if event["replaces"]:
        evidence.successors[key[0], event["replaces"]].append(event["message_id"])


def opinion_of(event: Event) -> str | None:
    """Return `up`, `down` or None for what a user's event says; an edit or marks without a thumb are a dislike."""
    if event["kind"] in REVIEWERS:
        return None
    return event["rating"] or ("down" if event["kind"] == "edit" or event.get("spans") else None)


def reviewed(events: Sequence[Event]) -> str | None:
    """Return what reviewers (events oldest first) would have had the reply be, or None.

    The newest repair; else the other reply, where two reviewers preferred it, none preferred the disliked one, and
    nobody marked anything in it as toxic.
    """
    repairs = [event["correction"] for event in events if event["reason"] in (None, REPAIRED) and event["correction"]]
    if repairs:
        return str(repairs[-1])
    last = {event["user"]: event for event in events if event["reason"] in (PREFERS_OTHER, PREFERS_REPLY, TIE)}
    chosen = [event["correction"] for event in last.values() if event["reason"] == PREFERS_OTHER]
    if len(chosen) < AGREEING or len(set(chosen)) > 1 or any(e["reason"] == PREFERS_REPLY for e in last.values()):
        return None
    marked = {event["reply"] for event in events if UNSAFE in reasons_of({**event, "reason": None})}
    return None if chosen[0] in marked else str(chosen[0])


def marks_of_reviewers(event: Event, events: Sequence[Event]) -> set[str]:
    """Return the reasons that reviewers' marks in a disliked reply stand for."""
    return {mark for e in events if e["reply"] == event["reply"] for mark in reasons_of({**e, "reason": None})}


def reasons_of(event: Event) -> set[str]:
    """Return what a user's event names as wrong with a reply, by its reason and by its marked spans."""
    marked = {MARKED[span["label"]] for span in event.get("spans") or ()}
    return marked | ({event["reason"]} if event["reason"] else set())


def key_of(event: Event) -> Key:
    return event["user"], event["message_id"]


def time_of(row: Event) -> datetime:
    return datetime.fromisoformat(row["created_at"])


def when(event: Event) -> tuple[datetime, bool, str]:
    """Return what orders events: their time; within one tick of the clock a thumb up comes last and so cancels."""
    return time_of(event), event["rating"] == "up", event["event_id"]
