"""What reviewers say of a disliked reply: what becomes a pair, and what waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.best_of_n import Resampled
from tests.events import feedback_event
from tests.stages.opinions import at, edit, pairs_of


def verdict(reason: str | None, user: str, minute: int = 5, **changes: Any) -> dict[str, Any]:
    """Return a reviewer's event on the message that `edit` and `feedback_event` are about."""
    changes = {"correction": "About nine months." if reason == "prefers_other" else None, **changes}
    return feedback_event(**{"kind": "review", "rating": None, "reason": reason, "user": user, **changes}) | {
        "created_at": at(minute)
    }


def chosen_of(*events: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["origin"], row["chosen"]) for row in pairs_of(feedback_event(), *events).preferences]


def test_what_two_reviewers_prefer_is_chosen() -> None:
    both = (verdict("prefers_other", "r-1"), verdict("prefers_other", "r-2"))
    assert chosen_of(*both) == [("review", "About nine months.")]
    assert chosen_of(both[0]) == []
    assert chosen_of(both[0], verdict("prefers_other", "r-1", 6)) == []


def test_reviewers_who_contradict_each_other_choose_nothing() -> None:
    both = (verdict("prefers_other", "r-1"), verdict("prefers_other", "r-2"))
    assert chosen_of(*both, verdict("prefers_reply", "r-3")) == []
    assert chosen_of(both[0], verdict("tie", "r-2")) == []


def test_one_reviewers_repair_is_chosen_before_what_two_prefer() -> None:
    both = (verdict("prefers_other", "r-1"), verdict("prefers_other", "r-2"))
    assert chosen_of(*both, verdict("repaired", "r-1", correction="Nine months.")) == [("review", "Nine months.")]


def test_a_reply_that_a_reviewer_marked_as_toxic_is_never_chosen() -> None:
    both = (verdict("prefers_other", "r-1"), verdict("prefers_other", "r-2"))
    spans = [{"start": 0, "end": 5, "label": "toxic"}]
    assert chosen_of(*both, verdict("marks_other", "r-3", reply="About nine months.", spans=spans)) == []


def test_a_reviewers_mark_in_the_disliked_reply_makes_the_pair_one_for_safety() -> None:
    spans = [{"start": 0, "end": 3, "label": "toxic"}]
    made = pairs_of(edit(), verdict("tie", "r-1", spans=spans)).preferences
    assert [row["objective"] for row in made] == ["safe"]


def test_a_comparison_of_releases_is_no_opinion_of_a_user() -> None:
    comparison = feedback_event(kind="comparison", rating=None, reason="candidate", message_id="81")
    made = pairs_of(comparison)
    assert (made.preferences, made.unpaired, made.queue) == ([], [], [])


def test_what_nothing_bettered_waits_in_the_queue_with_the_sample_that_came_nearest() -> None:
    def nearest(events: Sequence[Any]) -> list[Resampled]:
        return [Resampled(reason="no_better_sample", other="Nine months, I think.", doubt=0.8) for _ in events]

    disliked = [feedback_event(user=f"u-{n}", message_id=f"m-{n}", reason="rude") for n in range(2)]
    (row,) = pairs_of(*disliked, resample=nearest).queue
    assert (row["other"], row["doubt"], row["dislikes"]) == ("Nine months, I think.", 0.8, 2)
    assert row["reasons"] == ["rude"]
    assert pairs_of(edit(), resample=nearest).queue == []


def test_a_second_try_that_was_disliked_too_stands_beside_the_first() -> None:
    second = feedback_event(message_id="m-2", replaces="m-1", reply="Three years.", created_at=at(3))
    queue = {row["reply"]: row["other"] for row in pairs_of(feedback_event(), second).queue}
    assert queue == {"Two years.": "Three years.", "Three years.": None}
