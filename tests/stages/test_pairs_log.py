"""Whatever users did, in whatever order it came, pairs keep the rules."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stages.pairs import make_pairs
from tests.events import feedback_event
from tests.stages.opinions import at, params, sampled
from thumbwheel.records import FEEDBACK, PREFERENCE, to_table

USERS, MESSAGES = st.sampled_from(["u-1", "u-2"]), st.sampled_from(["m-1", "m-2", "m-3"])


TEXTS = st.sampled_from(["", " ", "a", "b", "ß\u200d", "ﬁ"])


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Feedback logs: each message has one reply; anything else may happen."""
    replies = {message: draw(TEXTS) for message in ("m-1", "m-2", "m-3")}
    events = []
    for number in range(draw(st.integers(0, 14))):
        kind, message = draw(st.sampled_from(["rating", "edit", "regeneration", "review"])), draw(MESSAGES)
        events.append(
            feedback_event(
                event_id=f"e-{draw(st.integers(0, 12))}",
                kind=kind,
                message_id=message,
                reply=replies[message],
                user=draw(USERS),
                rating=draw(st.sampled_from(["up", "down", None])),
                correction=draw(TEXTS) if kind in ("edit", "review") else None,
                replaces=draw(MESSAGES) if kind == "regeneration" else None,
                consent=draw(st.booleans()),
                created_at=at(number),
            )
        )
    return events


def _distinct(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({event["event_id"]: event for event in reversed(log)}.values())[::-1]


@given(logs(), st.integers(1, 2))
def test_whatever_happened_every_pair_keeps_the_rules(log: list[dict[str, Any]], cap: int) -> None:
    result = make_pairs(log, params(cap_per_user=cap), sampled("fresh"))
    events = sorted(_distinct(log), key=lambda event: event["created_at"])

    for row in result.preferences:
        disliked = [
            event
            for event in events
            if event["user"] == row["user"]
            and event["reply"] == row["rejected"]
            and event["consent"]
            and _says_down(event)
        ]
        assert disliked, "rejected is a reply that this consenting user disliked, byte for byte"
        assert any(_last_opinion(events, event) == "down" for event in disliked), "a flipped label cannot survive"
        assert row["chosen"] != row["rejected"]
        assert row["chosen"].strip()
    assert len({row["id"] for row in result.preferences}) == len(result.preferences)
    assert max(Counter(row["user"] for row in result.preferences).values(), default=0) <= cap
    to_table(result.preferences, PREFERENCE)
    to_table(result.unpaired, FEEDBACK)


def _says_down(event: dict[str, Any]) -> bool:
    return event["kind"] != "review" and (event["rating"] or ("down" if event["kind"] == "edit" else "")) == "down"


def _last_opinion(events: list[dict[str, Any]], about: dict[str, Any]) -> str | None:
    said = [
        "down" if _says_down(event) else "up"
        for event in events
        if (event["user"], event["message_id"]) == (about["user"], about["message_id"])
        and event["kind"] != "review"
        and (event["rating"] or event["kind"] == "edit")
    ]
    return said[-1] if said else None


@given(logs(), st.randoms())
def test_neither_the_order_of_events_nor_repeats_change_the_pairs(log: list[dict[str, Any]], chance: Any) -> None:
    log = _distinct(log)
    shuffled = [*log, *log]
    chance.shuffle(shuffled)

    once, twice = (make_pairs(each, params(), sampled("fresh")) for each in (log, shuffled))

    assert once.preferences == twice.preferences
    assert once.unpaired == twice.unpaired
    assert twice.rejections["repeated_event"] == len(log)
