"""Sides by stable hash, for ever; no near-duplicate and no user on two of them; no evaluation question in training."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.duplicates.words import jaccard, shingles
from stages.sides.items import Item, conversation_item, keys, mean_vectors, preference_item, read_corpus
from stages.split import SplitParams, find_straddlers, leak_drops, side, sides
from tests.stages.splitting import LONG, PARAMS, chat, pair
from tests.stages.vectors import fake_embed

EVEN = PARAMS.model_copy(update={"validation": 0.3, "test": 0.3})
"""Small examples would hold nothing out at a tenth."""


def item(text: str, name: str, when: str | None = None, user: str | None = None, forced: bool = False) -> Item:
    return Item(name, "conversations", (text,), (), user, when, forced)


def straddlers(items: list[Item], where: list[str]) -> dict[int, str]:
    means = mean_vectors(items, fake_embed([text for one in items for text in one.asked]))
    found = find_straddlers(items, where, read_corpus(items), means, [], PARAMS)
    return {i: drop.reason for i, drop in found.items()}


def sided(items: list[Item], params: SplitParams) -> list[str]:
    return sides(items, read_corpus(items), params)


def stand(items: list[Item]) -> dict[Item, str]:
    """Return where each item stands that is not dropped."""
    where = sided(items, EVEN)
    gone = straddlers(items, where)
    return {one: where[i] for i, one in enumerate(items) if i not in gone}


def are_near(one: Item, other: Item) -> bool:
    grams = (shingles([("", " ".join(each.said))], PARAMS.near_words) for each in (one, other))
    a, b = mean_vectors([one, other], fake_embed([*one.asked, *other.asked]))
    return jaccard(*grams) >= PARAMS.near_jaccard or float(a @ b) >= PARAMS.near_cosine


def test_sides_come_near_their_shares() -> None:
    found = [side(f"user {i}", PARAMS) for i in range(5000)]
    assert found.count("test") == pytest.approx(500, rel=0.15)
    assert found.count("validation") == pytest.approx(500, rel=0.15)


def test_all_rows_of_a_user_and_all_rows_that_ask_the_same_are_on_one_side() -> None:
    same_user = [conversation_item(chat(str(i), f"question {i}", "x", user="u-1")) for i in range(20)]
    same_words = [conversation_item(chat(str(i), "The same?", f"answer {i}")) for i in range(20)]
    pairs = [preference_item(pair(str(i), "the same"), ()) for i in range(3)]
    assert len(set(sided(same_user, PARAMS))) == 1
    assert len(set(sided([*same_words, *pairs], PARAMS))) == 1


def test_a_side_depends_on_no_other_row() -> None:
    items = [
        item(f"{word} is not what I ordered from you", word) for word in ["hub", "valve", "tap", "kit", "bed", "pot"]
    ]
    assert sided(items, EVEN) == [sided([one], EVEN)[0] for one in items]


def test_a_split_is_the_same_in_every_process_and_release() -> None:
    texts = ["My hub blinks white and will not pair", "¿Dónde está el grifo?", "Hi", "🙂"]
    assert keys([item(t, t) for t in texts], read_corpus([item(t, t) for t in texts]), 3) == [
        "2f6899671abc76db",
        "0c1e5cdd4dbbb99d",
        "7e6938bc9a2986c9",
        "f507631f9cbfc992",
    ]


def test_rows_that_are_nearly_the_same_mostly_have_one_key() -> None:
    rng = np.random.default_rng(3)
    texts = [" ".join(map(str, rng.integers(0, 10**6, 40))) for _ in range(300)]
    edited = [text.replace(text.split()[20], "other", 1) for text in texts]
    items = [item(text, text) for text in [*texts, *edited]]
    found = keys(items, read_corpus(items), 3)
    same = np.mean([one == other for one, other in zip(found[:300], found[300:], strict=True)])
    assert same == pytest.approx(35 / 41, abs=0.07)


def test_a_users_own_correction_is_always_learnt_from() -> None:
    items = [preference_item(pair(str(i), f"question {i}", "edit"), PARAMS.always_train) for i in range(50)]
    assert set(sided(items, PARAMS)) == {"train"}


def test_of_two_near_duplicates_on_two_sides_the_younger_goes() -> None:
    items = [item(LONG, "b", "2026-01"), item(LONG + " Please!", "a", "2026-02"), item("else", "c", "2026-03")]
    assert straddlers(items, ["train", "test", "train"]) == {1: "near:train"}
    assert straddlers(items[::-1], ["train", "test", "train"]) == {1: "near:train"}
    assert straddlers(items, ["test", "train", "train"]) == {1: "near:test"}
    assert straddlers(items, ["train", "train", "test"]) == {}


def test_a_row_without_a_date_counts_as_the_youngest_and_ids_decide_between_equals() -> None:
    assert straddlers([item(LONG, "a"), item(LONG, "b", "2026-01")], ["train", "test"]) == {0: "near:test"}
    assert straddlers([item(LONG, "b"), item(LONG, "a")], ["train", "test"]) == {0: "near:test"}


def test_a_pair_is_as_old_as_it_is_in_whatever_zone_its_time_is_written() -> None:
    made = (("a", "2026-01-01T23:30:00-05:00"), ("b", "2026-01-02T09:00:00+09:00"), ("c", "0001-01-01T00:00:00+14:00"))
    items = [preference_item({**pair(name, LONG), "created_at": moment}, ()) for name, moment in made]
    assert straddlers(items[:2], ["train", "test"]) == {0: "near:test"}
    assert straddlers(items[::2], ["train", "test"]) == {0: "near:test"}


def test_the_same_meaning_in_other_words_may_not_stand_on_two_sides() -> None:
    assert straddlers([item("abc def", "a"), item("fed cba", "b")], ["train", "test"]) == {1: "near:train"}


def test_a_users_own_correction_displaces_its_likes_and_its_user_from_the_held_out_sides() -> None:
    items = [item(LONG, "a", "2026-02", "u", forced=True), item(LONG, "b", "2026-01"), item("else", "c", "2026", "u")]
    assert straddlers(items, ["train", "test", "validation"]) == {1: "near:train", 2: "user:train"}
    assert straddlers(items, ["train", "train", "train"]) == {}


def test_a_row_between_two_sides_goes_rather_than_that_it_joins_them() -> None:
    ends = [item("a b c d e f", "1", "2026-01"), item("e f g h i j", "2", "2026-01")]
    bridge = item("b c d e f g h i", "3", "2026-02")
    assert are_near(ends[0], bridge) == are_near(ends[1], bridge) is False
    bridge = item("a b c d e f g h i j", "3", "2026-02")
    assert are_near(ends[0], bridge)
    assert are_near(ends[1], bridge)
    assert straddlers([*ends, bridge], ["train", "test", "train"]) == {2: "near:test"}
    assert straddlers([*ends, bridge], ["train", "test", "test"]) == {2: "near:train"}


TEXTS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=7).map(" ".join)
ROWS = st.tuples(TEXTS, st.sampled_from([None, "u", "v", "w"]), st.sampled_from([None, *"1234"]), st.booleans())
HISTORIES = st.lists(st.lists(ROWS, max_size=6), min_size=1, max_size=4)


def history(steps: list[list[tuple[str, str | None, str | None, bool]]]) -> list[list[Item]]:
    """Return the items that are there after each step."""
    names = (f"{n:03}" for n in range(1000))
    made = [
        [item(text, next(names), when, user, forced and user is not None) for text, user, when, forced in step]
        for step in steps
    ]
    return [[one for step in made[: end + 1] for one in step] for end in range(len(made))]


@settings(max_examples=100)
@given(HISTORIES)
def test_whatever_is_added_no_row_ever_changes_side_and_no_likes_or_users_straddle(
    steps: list[list[tuple[str, str | None, str | None, bool]]],
) -> None:
    once: dict[Item, str] = {}
    for items in history(steps):
        now = stand(items)
        for one, at in now.items():
            assert once.setdefault(one, at) == at
        for one, other in combinations(now, 2):
            if now[one] != now[other]:
                assert not are_near(one, other)
                assert one.user is None or one.user != other.user


@settings(max_examples=40)
@given(HISTORIES)
def test_what_is_younger_takes_nothing_from_what_was_there(
    steps: list[list[tuple[str, str | None, str | None, bool]]],
) -> None:
    items = history(steps)[-1]
    aged = [replace(one, created_at=f"{n:03}", forced=False) for n, one in enumerate(items)]
    whole = stand(aged)
    for end in range(len(aged)):
        assert stand(aged[:end]) == {one: at for one, at in whole.items() if one in aged[:end]}


@settings(max_examples=40)
@given(st.lists(ROWS, max_size=8), st.randoms())
def test_the_order_of_the_rows_decides_nothing_and_nothing_goes_without_need(rows: list[Any], random: Any) -> None:
    (items,) = history([rows])
    now = stand(items)
    shuffled = random.sample(items, len(items))
    assert stand(shuffled) == now
    for one, at in zip(items, sided(items, EVEN), strict=True):
        if one not in now:
            rivals = [other for other in now if now[other] != at and other.turn < one.turn]
            assert any(are_near(one, other) or one.user == other.user for other in rivals)


def test_a_row_that_leaks_several_questions_goes_for_the_one_it_holds_most_of() -> None:
    from stages.sides.decontaminate import Leak, Probe

    less, more = (Leak(0, Probe("s", name, "turn 1", ""), "words", share) for name, share in (("a", 0.2), ("b", 0.9)))
    assert leak_drops([less, more])[0].other == leak_drops([more, less])[0].other == "b"
