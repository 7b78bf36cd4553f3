"""What makes no pair: no consent, a changed mind, too young, no change, another's, the same again."""

from __future__ import annotations

from typing import Any

import pytest

from stages.pairs import make_pairs
from tests.events import feedback_event
from tests.stages.opinions import at, edit, none_found, pairs_of, params, regenerated, review
from thumbwheel.forgotten import Forgotten


@pytest.mark.parametrize("changes", [{}, {"consent": False}, {"reply": ""}])
def test_a_later_thumb_up_cancels_the_dislike_even_if_it_may_not_itself_be_used(changes: dict[str, Any]) -> None:
    result = pairs_of(feedback_event(), edit(), feedback_event(rating="up", created_at=at(9), **changes))

    assert result.preferences == []
    assert [event for event in result.unpaired if event["rating"] == "down"] == []
    assert result.rejections["flipped"] + result.rejections["no_consent"] >= 2


def test_a_thumb_up_that_is_taken_back_leaves_the_dislike() -> None:
    result = pairs_of(feedback_event(rating="up"), edit(created_at=at(4)))

    assert len(result.preferences) == 1
    assert result.rejections == {"flipped": 1}


def test_of_two_opinions_in_one_second_the_thumb_up_cancels() -> None:
    for up, down in ("ab", "ba"):
        events = [feedback_event(event_id=up, rating="up"), feedback_event(event_id=down)]

        assert [event["rating"] for event in pairs_of(*events).unpaired] == ["up"]


def test_a_thumb_up_of_another_user_cancels_nothing() -> None:
    assert len(pairs_of(edit(), feedback_event(user="u-2", rating="up", created_at=at(9))).preferences) == 1


def test_without_consent_nothing_is_used() -> None:
    result = pairs_of(feedback_event(consent=False), edit(consent=False, message_id="m-2"))

    assert (result.preferences, result.unpaired) == ([], [])
    assert result.rejections == {"no_consent": 2}


def test_consent_withdrawn_later_holds_for_what_was_said_before() -> None:
    result = pairs_of(feedback_event(), edit(), feedback_event(consent=False, created_at=at(9)))

    assert (result.preferences, result.unpaired) == ([], [])
    assert result.rejections == {"no_consent": 3}


def test_an_event_younger_than_the_minimum_age_waits() -> None:
    old = edit(message_id="m-1", created_at="2026-11-01T10:00:00+00:00")
    young = edit(message_id="m-2", created_at="2026-11-02T09:00:00+02:00")
    newest = feedback_event(message_id="m-3", rating="up", created_at="2026-11-02T08:00:00+00:00")

    result = pairs_of(old, young, newest, minimum_age_hours=12)

    assert [row["created_at"] for row in result.preferences] == [old["created_at"]]
    assert result.rejections == {"too_young": 2}


def test_age_counts_from_the_newest_event_so_that_old_feedback_gives_the_same_pairs_for_ever() -> None:
    assert len(pairs_of(edit(created_at="1999-01-01T00:00:00Z"), minimum_age_hours=0).preferences) == 1


def test_a_correction_that_changes_nothing_is_no_pair() -> None:
    result = pairs_of(edit("Two years."), review("Two years."))

    assert result.preferences == []
    assert result.rejections["chosen_is_rejected"] == 2


def test_a_blank_correction_falls_to_the_next_way() -> None:
    result = pairs_of(edit("  \n"), review())

    assert [row["origin"] for row in result.preferences] == ["review"]
    assert result.rejections == {"empty_correction": 1}


def test_a_pair_is_there_once_however_many_users_made_it() -> None:
    result = pairs_of(edit(), edit(user="u-2", message_id="m-8"))

    assert len(result.preferences) == 1
    assert result.rejections == {"duplicate": 1}


CROWD = 30


FALSE = "Call our new number, oh one two, and ask for Bert."


def crowd(**of_each: Any) -> list[dict[str, Any]]:
    """Return edits of as many users, each of another conversation; texts in `of_each` are filled in by their number."""
    filled = [{name: text.format(n) for name, text in of_each.items()} for n in range(CROWD)]
    asked = [[{"role": "user", "content": f.pop("question", f"Question {n} of mine?")}] for n, f in enumerate(filled)]
    return [
        edit(f"{f.pop('text')}", event_id=f"e-{n}", message_id=f"m-{n}", user=f"u-{n}", prompt=prompt, **f)
        for n, (f, prompt) in enumerate(zip(filled, asked, strict=True))
    ]


@pytest.mark.parametrize(
    "same",
    [
        {"text": FALSE},
        {"text": FALSE + " Now{0}."},
        {"text": "Word{0} for{0} word{0} another{0} thing{0}.", "question": "Whom do I call about a leak?"},
    ],
)
def test_many_who_say_the_same_own_no_batch(same: dict[str, str]) -> None:
    honest = edit("Nine months, or a year in mild weather.", user="u-honest", event_id="z", message_id="m-z")
    made = pairs_of(*crowd(**same), honest, alike={"jaccard": 0.6, "most": 3})
    chosen = [row["chosen"] for row in made.preferences]
    assert (len(chosen), honest["correction"] in chosen) == (4, True)
    assert made.rejections["alike"] == CROWD - 3


def test_many_who_say_different_things_all_count() -> None:
    made = pairs_of(*crowd(text="Word{0} for{0} word{0} another{0} thing{0}."), alike={"jaccard": 0.6, "most": 3})
    assert (len(made.preferences), made.rejections["alike"]) == (CROWD, 0)


def test_many_who_like_the_same_own_no_batch() -> None:
    liked = [feedback_event(rating="up", event_id=f"e-{n}", message_id=f"m-{n}", user=f"u-{n}") for n in range(CROWD)]
    made = pairs_of(*liked, alike={"jaccard": 0.6, "most": 3})
    assert (len(made.unpaired), made.rejections["alike"]) == (3, CROWD - 3)


def test_users_who_contradict_each_other_make_no_pair() -> None:
    one = edit("A.", reply="B.")
    other = edit("B.", reply="A.", user="u-2", message_id="m-2")

    result = pairs_of(one, other)

    assert result.preferences == []
    assert result.rejections == {"contradicted": 2}


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_a_reply_to_no_question_makes_no_pair_and_no_example(role: str) -> None:
    prompt = [{"role": role, "content": "Welcome!"}]
    result = pairs_of(feedback_event(prompt=prompt), edit(prompt=prompt), feedback_event(message_id="m-2"))

    assert result.preferences == []
    assert [event["message_id"] for event in result.unpaired] == ["m-2"]
    assert result.rejections["no_question"] == 2


@pytest.mark.parametrize("model", ["elsewhere/backup/big", "thumbwheel-chat/3+pirate@0123456789ab"])
def test_what_another_model_wrote_makes_no_pair_and_no_example(model: str) -> None:
    result = pairs_of(feedback_event(model=model), edit(model=model), review(model=model))

    assert (result.preferences, result.unpaired) == ([], [])
    assert result.rejections["other_model"] == 3


def test_a_regeneration_by_another_model_is_no_better_reply() -> None:
    result = pairs_of(feedback_event(), regenerated(model="elsewhere/backup/big"))

    assert result.preferences == []
    assert [event["message_id"] for event in result.unpaired] == ["m-1"]


def test_events_of_a_forgotten_user_make_nothing_and_are_counted() -> None:
    class Everybody(Forgotten):
        def holds(self, user: str | None) -> bool:
            return True

    made = make_pairs([edit(), feedback_event()], params(), none_found, Everybody())
    assert (made.preferences, made.unpaired, made.rejections) == ([], [], {"forgotten": 2})
