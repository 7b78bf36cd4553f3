"""The desk at which reviewers work: which item comes next, and what becomes of a verdict.

Nobody is shown a verdict of others on an item before giving their own; how far reviewers agree is told of all items
together.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serving.draft import now
from serving.feedback import Sink
from serving.openai_api import ApiError
from serving.options import Options
from serving.review.items import Item, ItemFile
from serving.review.requests import VerdictRequest
from serving.review.verdicts import Verdicts, decided
from thumbwheel.agreement import agreement
from thumbwheel.reviews import MARKS_OTHER, PREFERS_OTHER, REPAIRED, SKIPPED
from thumbwheel.settings import settings

NAMESPACE = uuid.UUID("5a0f3a6e-6f0e-4f43-9d9e-2f4f0c7a9b11")
"""Of the ids of reviewers' events, so that one sent twice is one."""
Marks = Sequence[dict[str, Any]]


class Desk:
    """Serves the queue to reviewers and turns their verdicts into events."""

    def __init__(self, items: ItemFile, verdicts: Verdicts, sink: Sink, reviewers: int, key: bytes) -> None:
        self._items, self._verdicts, self._sink, self._reviewers, self._key = items, verdicts, sink, reviewers, key

    def next(self, reviewer: str) -> dict[str, Any]:
        """Return the next item for a reviewer as it is shown, or null, with how far the queue is."""
        items, given = self._items.read(), self._verdicts.given()
        open_ = [item for item in items.values() if self._waits_for(reviewer, given.get(item.id, {}))]
        begun = [item for item in open_ if decided(given.get(item.id, {}))]
        item = next(iter([*(begun if self._turn_of_begun(given, reviewer) else ()), *open_]), None)
        mine = sum(reviewer in of_item for name, of_item in given.items() if name in items)
        both = [decided(of_item) for of_item in given.values()]
        return {
            "object": "review",
            "item": item.shown(reviewer, self._key) if item else None,
            "progress": {"mine": mine, "waiting": len(open_), "items": len(items)},
            "agreement": asdict(agreement(both)),
        }

    def judge(self, reviewer: str, said: VerdictRequest) -> dict[str, Any]:
        """Keep a verdict, durably, and return what may be told now that it is given.

        Raises:
            ApiError: 404 for an item that is not in the queue, 409 for one that was judged, 400 for marks outside of
                the texts or a repair that is none.
        """
        item = self._items.read().get(said.item)
        if item is None:
            raise ApiError(404, "this item is no longer in the queue", "item_not_found", "item")
        if reviewer in self._verdicts.given().get(item.id, {}):
            raise ApiError(409, "you have judged this item already", "already_judged", "item")
        verdict, marks = item.verdict(said.verdict, reviewer, self._key), self._marks(item, reviewer, said)
        for event in events(item, reviewer, verdict, marks, said.repair):
            self._sink.append(event)
        self._verdicts.add(item.id, reviewer, verdict, now())
        return {"object": "review.verdict", "verdict": verdict, "told": self._told(item, reviewer)}

    def _waits_for(self, reviewer: str, given: dict[str, str]) -> bool:
        return reviewer not in given and len(decided(given)) < self._reviewers

    def _turn_of_begun(self, given: dict[str, dict[str, str]], reviewer: str) -> bool:
        """Every second item is one that somebody else began, so that pairs of verdicts come about."""
        return sum(reviewer in of_item for of_item in given.values()) % 2 == 1

    def _marks(self, item: Item, reviewer: str, said: VerdictRequest) -> tuple[Marks, Marks]:
        """Return the marks in both texts, in the item's own order."""
        sides = [[span.model_dump() for span in side] for side in (said.spans.a, said.spans.b)]
        first, second = sides[::-1] if item.swapped(reviewer, self._key) else sides
        for text, marks in zip(item.texts, (first, second), strict=True):
            if any(not mark["start"] < mark["end"] <= len(text or "") for mark in marks):
                raise ApiError(400, "spans: one is no part of its text", "invalid_value", "spans")
        if said.repair is not None and (item.is_release or said.repair in item.texts):
            raise ApiError(400, "repair: is one of the texts, or of no user's reply", "invalid_value", "repair")
        return first, second

    def _told(self, item: Item, reviewer: str) -> dict[str, Any] | None:
        """Return which side a user had disliked and what they had marked; of releases nothing is told."""
        if item.is_release or item.texts[1] is None:
            return None
        side = "b" if item.swapped(reviewer, self._key) else "a"
        quotes = [item.texts[0][mark["start"] : mark["end"]] for mark in item.row["spans"] or []]  # type: ignore[index]
        return {"disliked": side, "marked": quotes, "reasons": item.row["reasons"]}


def events(
    item: Item, reviewer: str, verdict: str, marks: tuple[Marks, Marks], repair: str | None
) -> Iterator[dict[str, Any]]:
    """Yield a verdict as rows of `records.FEEDBACK`: the verdict, a repair, and marks in the other text."""
    if item.is_release:
        if verdict != SKIPPED:
            yield _comparison(item, reviewer, verdict)
        return
    other = item.texts[1]
    if verdict != SKIPPED or marks[0]:
        chosen = other if verdict == PREFERS_OTHER else None
        yield _review(item, reviewer, verdict) | {"correction": chosen, "spans": list(marks[0]) or None}
    if repair is not None:
        yield _review(item, reviewer, REPAIRED) | {"correction": repair}
    if marks[1]:
        yield _review(item, reviewer, MARKS_OTHER) | {"reply": other, "spans": list(marks[1])}


def _review(item: Item, reviewer: str, reason: str) -> dict[str, Any]:
    what = "verdict" if reason not in (REPAIRED, MARKS_OTHER) else reason
    names = ("conversation_id", "message_id", "reply", "model", "arm")
    return _event(item, reviewer, what, reason) | {"kind": "review"} | {name: item.row[name] for name in names}


def _comparison(item: Item, reviewer: str, winner: str) -> dict[str, Any]:
    row = item.row
    told = {"kind": "comparison", "conversation_id": row["set"], "message_id": row["question"]}
    bundles = {"model": row["candidate"]["bundle"], "replaces": row["champion"]["bundle"]}
    return _event(item, reviewer, "verdict", winner) | told | bundles | {"reply": item.texts[0]}


def _event(item: Item, reviewer: str, what: str, reason: str) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid5(NAMESPACE, f"{item.id}\n{reviewer}\n{what}")),
        "user": reviewer,
        "rating": None,
        "reason": reason,
        "correction": None,
        "prompt": item.prompt,
        "replaces": None,
        "arm": None,
        "consent": True,
        "created_at": now(),
        "spans": None,
    }


def make_desk(options: Options, state: Path, sink: Sink, key: bytes) -> Desk | None:
    """Return the desk that the options ask for, or None where there is none."""
    if not options.review.enabled:
        return None
    return Desk(ItemFile(settings().queue), Verdicts(state / "review.db"), sink, options.review.reviewers, key)
