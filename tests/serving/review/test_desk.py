"""The review queue at its core: what is shown, in which order, and what a verdict becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.openai_api import ApiError
from serving.review.desk import Desk
from serving.review.items import Item, ItemFile
from serving.review.requests import VerdictRequest
from serving.review.verdicts import Verdicts
from thumbwheel.events import validated
from thumbwheel.reviews import BAD, PREFERS_OTHER, PREFERS_REPLY, RELEASE, REPLY

KEY = b"key"


def disliked(name: str = "i-1", **changes: Any) -> dict[str, Any]:
    row = {
        "kind": REPLY,
        "id": name,
        "conversation_id": "c-1",
        "message_id": f"m-{name}",
        "prompt": [{"role": "user", "content": "How long do the batteries last?"}],
        "reply": "Two years, you fool.",
        "other": "About nine months.",
        "spans": [{"start": 11, "end": 19, "label": "toxic"}],
        "reasons": ["rude"],
        "dislikes": 1,
        "doubt": 1.0,
        "model": "thumbwheel-chat/3",
        "arm": "control",
    }
    return {**row, **changes}


def compared(name: str = "r-1") -> dict[str, Any]:
    sides = {side: {"bundle": f"bundle of {side}", "replies": [side[::-1]]} for side in ("candidate", "champion")}
    return {"kind": RELEASE, "id": name, "set": "mt_bench", "question": "81", "turns": ["Why?"], **sides}


class Sink:
    """Keeps events that fit."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def append(self, event: dict[str, Any]) -> None:
        self.events.append(validated(event))


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def desk_with(tmp_path: Path, sink: Sink) -> Callable[..., Desk]:
    def make(*rows: dict[str, Any]) -> Desk:
        (tmp_path / "items.json").write_text(json.dumps({"items": rows}))
        return Desk(ItemFile(tmp_path / "items.json"), Verdicts(tmp_path / "review.db"), sink, 2, KEY)

    return make


def letter_of(row: dict[str, Any], reviewer: str, side: str) -> str:
    """Return the letter under which a reviewer sees the `first` or `second` text of an item."""
    return "a" if (side == "first") != Item(row).swapped(reviewer, KEY) else "b"


def say(desk: Desk, reviewer: str, verdict: str, item: str = "i-1", **more: Any) -> dict[str, Any]:
    return desk.judge(reviewer, VerdictRequest.model_validate({"item": item, "verdict": verdict, **more}))


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_letter_means_the_text_that_stood_there_whoever_looks(name: str, reviewer: str) -> None:
    item = Item(disliked(name))
    shown = item.shown(reviewer, KEY)
    meant = {"Two years, you fool.": PREFERS_REPLY, "About nine months.": PREFERS_OTHER}
    assert all(item.verdict(letter, reviewer, KEY) == meant[shown[letter]] for letter in ("a", "b"))


def test_sides_are_drawn_evenly_and_are_the_same_when_looked_at_again() -> None:
    item = Item(disliked())
    drawn = [item.swapped(f"u-{n}", KEY) for n in range(400)]
    assert 150 < sum(drawn) < 250
    assert drawn == [item.swapped(f"u-{n}", KEY) for n in range(400)]


def test_nothing_that_is_shown_of_a_pair_tells_the_sides_apart(desk_with: Callable[..., Desk]) -> None:
    shown = desk_with(disliked()).next("u-1")["item"]
    assert set(shown) == {"id", "prompt", "a", "b", "disliked"}
    assert shown["disliked"] is None


def test_a_reply_alone_is_shown_with_what_its_user_marked(desk_with: Callable[..., Desk]) -> None:
    shown = desk_with(disliked(other=None)).next("u-1")["item"]
    assert (shown["a"], shown["b"]) == ("Two years, you fool.", None)
    assert shown["disliked"]["spans"] == [{"start": 11, "end": 19, "label": "toxic"}]


def test_an_item_waits_for_two_reviewers_and_no_third(desk_with: Callable[..., Desk]) -> None:
    desk = desk_with(disliked())
    for reviewer in ("u-1", "u-2"):
        assert desk.next(reviewer)["item"]["id"] == "i-1"
        say(desk, reviewer, "tie")
        assert desk.next(reviewer)["item"] is None
    assert desk.next("u-3")["item"] is None
    assert desk.next("u-1")["agreement"]["items"] == 1


def test_who_skips_an_item_leaves_it_to_others(desk_with: Callable[..., Desk], sink: Sink) -> None:
    desk = desk_with(disliked())
    say(desk, "u-1", "skip")
    assert sink.events == []
    assert desk.next("u-1")["item"] is None
    assert desk.next("u-2")["progress"]["waiting"] == 1


def test_items_come_in_the_order_of_the_queue_and_every_second_is_one_that_another_began(
    desk_with: Callable[..., Desk],
) -> None:
    desk = desk_with(*(disliked(f"i-{n}") for n in range(4)))
    say(desk, "u-1", "tie", "i-2")
    seen = []
    for _ in range(3):
        seen.append(desk.next("u-2")["item"]["id"])
        say(desk, "u-2", "tie", seen[-1])
    assert seen == ["i-0", "i-2", "i-1"]


def test_no_verdict_of_others_is_shown_before_ones_own(desk_with: Callable[..., Desk]) -> None:
    desk = desk_with(disliked())
    before = desk.next("u-2")
    say(desk, "u-1", "b")
    assert desk.next("u-2") == before


def test_a_preference_carries_the_text_that_was_preferred(desk_with: Callable[..., Desk], sink: Sink) -> None:
    told = say(desk_with(disliked()), "u-1", letter_of(disliked(), "u-1", "second"))
    (event,) = sink.events
    assert (event["kind"], event["reason"], event["correction"]) == ("review", PREFERS_OTHER, "About nine months.")
    assert (event["message_id"], event["reply"], event["user"]) == ("m-i-1", "Two years, you fool.", "u-1")
    assert told["told"] == {
        "disliked": letter_of(disliked(), "u-1", "first"),
        "marked": ["you fool"],
        "reasons": ["rude"],
    }


def test_a_repair_and_marks_in_both_texts_become_events_of_their_own(
    desk_with: Callable[..., Desk], sink: Sink
) -> None:
    mark = {"start": 0, "end": 5, "label": "wrong"}
    first, second = (letter_of(disliked(), "u-1", side) for side in ("first", "second"))
    say(desk_with(disliked()), "u-1", "tie", repair="Nine.", spans={first: [mark], second: [{**mark, "end": 3}]})
    told = [(event["reason"], event["correction"], event["reply"]) for event in sink.events]
    assert told == [
        ("tie", None, "Two years, you fool."),
        ("repaired", "Nine.", "Two years, you fool."),
        ("marks_other", None, "About nine months."),
    ]
    assert [event["spans"] for event in sink.events] == [[mark], None, [{**mark, "end": 3}]]


def test_a_reply_alone_is_bad_or_all_right(desk_with: Callable[..., Desk], sink: Sink) -> None:
    desk = desk_with(disliked(other=None))
    say(desk, "u-1", "b")
    say(desk, "u-2", "a")
    assert [event["reason"] for event in sink.events] == [BAD, PREFERS_REPLY]


def test_a_verdict_on_releases_names_bundles_and_winner_and_tells_nothing(
    desk_with: Callable[..., Desk], sink: Sink
) -> None:
    told = say(desk_with(compared()), "u-1", letter_of(compared(), "u-1", "first"), "r-1")
    (event,) = sink.events
    assert (event["kind"], event["reason"], event["conversation_id"], event["message_id"]) == (
        *("comparison", "candidate", "mt_bench", "81"),
    )
    assert (event["model"], event["replaces"]) == ("bundle of candidate", "bundle of champion")
    assert told["told"] is None


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"item": "gone"}, 404),
        ({"spans": {"a": [{"start": 0, "end": 99, "label": "wrong"}]}}, 400),
        ({"repair": "About nine months."}, 400),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_event(
    desk_with: Callable[..., Desk], sink: Sink, more: dict[str, Any], status: int
) -> None:
    with pytest.raises(ApiError) as refused:
        say(desk_with(disliked()), "u-1", "tie", **{"item": "i-1", **more})
    assert (refused.value.status, sink.events) == (status, [])


def test_the_first_verdict_stands_and_one_sent_twice_is_one_event(desk_with: Callable[..., Desk], sink: Sink) -> None:
    desk = desk_with(disliked())
    say(desk, "u-1", "tie")
    with pytest.raises(ApiError, match="already"):
        say(desk, "u-1", "a")
    desk._verdicts.erase(["i-1"], [])  # as if the process had died between the event and the verdict
    say(desk, "u-1", "tie")
    assert len({event["event_id"] for event in sink.events}) == 1


def test_a_queue_that_is_damaged_or_gone_is_no_error(desk_with: Callable[..., Desk], tmp_path: Path) -> None:
    desk = desk_with(disliked())
    assert desk.next("u-1")["item"] is not None
    (tmp_path / "items.json").write_text("{")
    assert desk.next("u-1")["item"] is not None
    (tmp_path / "items.json").unlink()
    assert desk.next("u-1")["item"] is None
