from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.best_of_n import Resampled
from stages.collect import CollectParams, collect
from stages.pairs import Pairs, PairsParams, main, make_pairs
from tests.events import feedback_event
from thumbwheel.errors import PinError
from thumbwheel.forgotten import Forgotten
from thumbwheel.lake import read_pin, read_pinned, write_json
from thumbwheel.params import load_params, read_params
from thumbwheel.records import FEEDBACK, PREFERENCE, to_table
from thumbwheel.settings import settings

REPOSITORY = Path(__file__).parents[2]
SEED = REPOSITORY / "data" / "seed" / "feedback"

BEST_OF_N = {
    "samples": 2,
    "margin": 0.1,
    "max_events": 4,
    "temperature": 1.0,
    "max_tokens": 8,
    "max_length": 512,
    "min_mass": 0.5,
    "seed": 1,
}
WEIGHTS = {"edit": 1.0, "regeneration": 0.8, "review": 0.9, "best_of_n": 0.5}


def params(**changes: Any) -> PairsParams:
    alike = {"jaccard": 0.6, "most": 100}
    base = {"minimum_age_hours": 0, "cap_per_user": 100, "alike": alike, "weights": WEIGHTS, "best_of_n": BEST_OF_N}
    return PairsParams.model_validate({**base, **changes})


def none_found(events: Sequence[Any]) -> list[Resampled]:
    return [Resampled(reason="no_better_sample") for _ in events]


def pairs_of(*events: dict[str, Any], resample: Any = none_found, **changes: Any) -> Pairs:
    return make_pairs(events, params(**changes), resample)


def at(minute: int) -> str:
    return f"2026-11-01T10:{minute:02}:00+00:00"


def edit(text: str = "Nine months.", **changes: Any) -> dict[str, Any]:
    return feedback_event(**{"kind": "edit", "rating": None, "correction": text, "created_at": at(1), **changes})


def marked(label: str, **changes: Any) -> dict[str, Any]:
    spans = [{"start": 0, "end": 3, "label": label}]
    return feedback_event(**{"rating": None, "spans": spans, "created_at": at(2), **changes})


def regenerated(text: str = "About nine months.", **changes: Any) -> dict[str, Any]:
    given = {"kind": "regeneration", "rating": "up", "message_id": "m-2", "replaces": "m-1", "created_at": at(2)}
    return feedback_event(**{**given, "reply": text, **changes})


def review(text: str = "Nine months, says the manual.", **changes: Any) -> dict[str, Any]:
    given = {"kind": "review", "rating": None, "user": "u-reviewer", "correction": text, "created_at": at(3)}
    return feedback_event(**{**given, **changes})


def sampled(text: str = "Nine.") -> Any:
    return lambda events: [Resampled(text=text) for _ in events]


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


@pytest.mark.parametrize(("reason", "objective"), [("unsafe", "safe"), ("wrong", "helpful"), (None, "helpful")])
def test_an_unsafe_reply_makes_a_pair_for_safety(reason: str | None, objective: str) -> None:
    assert pairs_of(feedback_event(reason=reason), edit()).preferences[0]["objective"] == objective


def test_a_reason_given_in_a_later_event_counts() -> None:
    later = feedback_event(rating=None, reason="unsafe", created_at=at(4))

    assert pairs_of(edit(), later).preferences[0]["objective"] == "safe"


def test_a_pair_weighs_what_its_origin_weighs() -> None:
    rows = pairs_of(edit(), feedback_event(message_id="m-6"), resample=sampled()).preferences

    assert {row["origin"]: row["weight"] for row in rows} == {"edit": 1.0, "best_of_n": 0.5}


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


@pytest.fixture
def place(workspace: Path) -> Path:
    """A workspace with the parameters of the repository, sampling turned off."""
    text = (REPOSITORY / "params.yaml").read_text().replace("samples: 4 ", "samples: 0 ")
    (workspace / "params.yaml").write_text(text)
    return workspace


def test_the_committed_parameters_load() -> None:
    path = REPOSITORY / "params.yaml"

    assert load_params("pairs", PairsParams, path).minimum_age_hours == 0
    assert load_params("collect", CollectParams, path).files
    assert set(read_params(path)["pairs"]) == set(PairsParams.model_fields)


def test_the_seed_feedback_gives_the_pairs_that_were_planted(place: Path) -> None:
    planted = json.loads((SEED / "PLANTED.json").read_text())
    (place / "data" / "seed").mkdir(parents=True)
    (place / "data" / "seed" / "feedback").symlink_to(SEED)
    pin = collect()
    assert pin is not None
    write_json(settings().inputs / "feedback.json", pin.model_dump())

    main()
    first = read_pin("pairs")
    main()

    assert first == read_pin("pairs")
    assert first.facts["origins"] | {"edit": 0, "regeneration": 0} == dict.fromkeys(first.facts["origins"], 0)
    assert first.facts["origins"]["edit"] == planted["edits"]
    assert first.facts["origins"]["regeneration"] == planted["regenerations"]
    assert first.facts["unpaired"] == {"down": planted["unpaired_downs"], "up": planted["ups"]}
    assert first.rejections["no_consent"] == planted["no_consent"]
    seen = {json.loads(line)["reply"] for line in (SEED / "events.jsonl").read_text().splitlines()}
    assert set(read_pinned("pairs", "preferences")["rejected"].to_pylist()) <= seen


def test_without_any_feedback_the_tables_are_empty(place: Path) -> None:
    nothing = {"table": "feedback", "version": -1, "rows": 0, "fingerprint": ""}
    write_json(settings().inputs / "feedback.json", nothing)

    main()

    assert read_pinned("pairs", "preferences").num_rows == 0
    assert read_pinned("pairs", "unpaired").num_rows == 0


def test_without_the_input_file_the_message_says_how_to_make_it(place: Path) -> None:
    with pytest.raises(PinError, match=r"stages\.observe"):
        main()


@pytest.mark.parametrize("model", ["elsewhere/backup/big", "thumbwheel-chat/3+pirate@0123456789ab"])
def test_what_another_model_wrote_makes_no_pair_and_no_example(model: str) -> None:
    result = pairs_of(feedback_event(model=model), edit(model=model), review(model=model))

    assert (result.preferences, result.unpaired) == ([], [])
    assert result.rejections["other_model"] == 3


def test_a_regeneration_by_another_model_is_no_better_reply() -> None:
    result = pairs_of(feedback_event(), regenerated(model="elsewhere/backup/big"))

    assert result.preferences == []
    assert [event["message_id"] for event in result.unpaired] == ["m-1"]


@pytest.mark.parametrize(("label", "objective"), [("toxic", "safe"), ("wrong", "helpful")])
def test_words_marked_as_toxic_make_a_pair_for_safety(label: str, objective: str) -> None:
    made = pairs_of(edit(), marked(label)).preferences
    assert [row["objective"] for row in made] == [objective]


def test_marked_words_without_a_thumb_are_a_dislike_that_a_thumb_up_takes_back() -> None:
    assert [event["event_id"] for event in pairs_of(marked("wrong", event_id="e")).unpaired] == ["e"]
    taken_back = pairs_of(marked("wrong"), feedback_event(rating="up", created_at=at(3)))
    assert [event["rating"] for event in taken_back.unpaired] == ["up"]


def test_events_of_a_forgotten_user_make_nothing_and_are_counted() -> None:
    class Everybody(Forgotten):
        def holds(self, user: str | None) -> bool:
            return True

    made = make_pairs([edit(), feedback_event()], params(), none_found, Everybody())
    assert (made.preferences, made.unpaired, made.rejections) == ([], [], {"forgotten": 2})
