"""Which better reply a disliked one is paired with, and what becomes of those without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from stages.best_of_n import Resampled
from tests.events import feedback_event
from tests.stages.opinions import at, edit, marked, pairs_of, regenerated, review, sampled


def test_the_users_own_edit_comes_before_every_other_way() -> None:
    result = pairs_of(feedback_event(), review(), regenerated(), edit(), resample=sampled())

    assert [(row["origin"], row["chosen"]) for row in result.preferences] == [("edit", "Nine months.")]


def test_a_liked_regeneration_comes_before_a_reviewers_repair() -> None:
    result = pairs_of(feedback_event(), review(), regenerated(), resample=sampled())

    assert [(row["origin"], row["chosen"]) for row in result.preferences] == [("regeneration", "About nine months.")]


def test_a_reviewers_repair_comes_before_fresh_samples() -> None:
    result = pairs_of(feedback_event(), review(), resample=sampled())

    assert [row["origin"] for row in result.preferences] == ["review"]


def test_fresh_samples_are_asked_only_for_what_nobody_mended() -> None:
    asked: list[str] = []

    def spy(events: Sequence[Any]) -> list[Resampled]:
        asked.extend(event["message_id"] for event in events)
        return sampled()(events)

    result = pairs_of(feedback_event(), edit(), feedback_event(message_id="m-9"), resample=spy)

    assert asked == ["m-9"]
    assert Counter(row["origin"] for row in result.preferences) == {"edit": 1, "best_of_n": 1}


def test_nothing_is_started_where_all_is_mended() -> None:
    def refuse(events: Sequence[Any]) -> list[Resampled]:
        raise AssertionError("no engine was needed")

    assert len(pairs_of(feedback_event(), edit(), resample=refuse).preferences) == 1


def test_without_a_better_reply_the_event_goes_to_the_unpaired_and_the_reason_is_counted() -> None:
    disliked = feedback_event()

    result = pairs_of(disliked)

    assert result.preferences == []
    assert result.unpaired == [disliked]
    assert result.rejections == {"no_better_sample": 1}


def test_a_liked_reply_is_an_unpaired_example_unless_a_pair_has_chosen_it() -> None:
    liked = feedback_event(message_id="m-7", rating="up")

    result = pairs_of(feedback_event(), regenerated(), liked)

    assert result.unpaired == [liked]


def test_an_edit_alone_is_a_dislike() -> None:
    assert [row["rejected"] for row in pairs_of(edit(reply=" Two\u00a0years.\n")).preferences] == [" Two\u00a0years.\n"]


def test_the_last_edit_counts() -> None:
    result = pairs_of(edit("first", created_at=at(1)), edit("second", created_at=at(5)))

    assert [row["chosen"] for row in result.preferences] == ["second"]


def test_a_chain_of_regenerations_leads_to_the_liked_one() -> None:
    second = feedback_event(message_id="m-2", replaces="m-1", reply="One year.", created_at=at(1))
    third = regenerated(message_id="m-3", replaces="m-2", created_at=at(2))

    result = pairs_of(feedback_event(), second, third)

    assert {(row["rejected"], row["chosen"]) for row in result.preferences} == {
        ("Two years.", "About nine months."),
        ("One year.", "About nine months."),
    }


def test_a_ring_of_regenerations_ends() -> None:
    ring = [regenerated(message_id="m-1", replaces="m-2", rating=None), regenerated(rating=None)]

    assert pairs_of(feedback_event(), *ring).preferences == []


def test_a_regeneration_that_the_user_did_not_like_makes_no_pair() -> None:
    assert pairs_of(feedback_event(), regenerated(rating=None)).preferences == []


def test_a_regeneration_by_another_user_makes_no_pair() -> None:
    assert pairs_of(feedback_event(), regenerated(user="u-2")).preferences == []


def test_a_regeneration_of_another_prompt_makes_no_pair() -> None:
    other = [{"role": "user", "content": "Something else?"}]

    assert pairs_of(feedback_event(), regenerated(prompt=other)).preferences == []


def test_a_repair_of_what_no_user_disliked_makes_no_pair() -> None:
    result = pairs_of(review(), feedback_event(message_id="m-5"))

    assert result.preferences == []
    assert result.rejections["review_without_dislike"] == 1


@pytest.mark.parametrize(("reason", "objective"), [("unsafe", "safe"), ("wrong", "helpful"), (None, "helpful")])
def test_an_unsafe_reply_makes_a_pair_for_safety(reason: str | None, objective: str) -> None:
    assert pairs_of(feedback_event(reason=reason), edit()).preferences[0]["objective"] == objective


def test_a_reason_given_in_a_later_event_counts() -> None:
    later = feedback_event(rating=None, reason="unsafe", created_at=at(4))

    assert pairs_of(edit(), later).preferences[0]["objective"] == "safe"


def test_a_pair_weighs_what_its_origin_weighs() -> None:
    rows = pairs_of(edit(), feedback_event(message_id="m-6"), resample=sampled()).preferences

    assert {row["origin"]: row["weight"] for row in rows} == {"edit": 1.0, "best_of_n": 0.5}


@pytest.mark.parametrize(("label", "objective"), [("toxic", "safe"), ("wrong", "helpful")])
def test_words_marked_as_toxic_make_a_pair_for_safety(label: str, objective: str) -> None:
    made = pairs_of(edit(), marked(label)).preferences
    assert [row["objective"] for row in made] == [objective]


def test_marked_words_without_a_thumb_are_a_dislike_that_a_thumb_up_takes_back() -> None:
    assert [event["event_id"] for event in pairs_of(marked("wrong", event_id="e")).unpaired] == ["e"]
    taken_back = pairs_of(marked("wrong"), feedback_event(rating="up", created_at=at(3)))
    assert [event["rating"] for event in taken_back.unpaired] == ["up"]
