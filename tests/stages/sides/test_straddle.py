"""Rows that resemble each other across sides are found exactly, and settled one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stages.sides import straddle
from stages.sides.straddle import Pairs, alike_by_meaning, alike_by_words, of_one_user, settle

SETS = st.lists(st.tuples(st.frozensets(st.integers(0, 12), min_size=1), st.integers(-1, 2)), max_size=14)


def as_set(pairs: Pairs) -> set[tuple[int, int]]:
    both = [tuple(sorted(two)) for two in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)]
    assert len(both) == len(set(both))
    return set(both)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(straddle, "BLOCK", 3)


@given(SETS)
def test_pairs_by_words_are_those_of_all_pairs(rows: list[tuple[frozenset[int], int]]) -> None:
    sides = np.array([side for _, side in rows], np.int64)
    hashes = np.array([h for grams, _ in rows for h in sorted(grams) * 2], np.uint64)
    owners = np.array([i for i, (grams, _) in enumerate(rows) for _ in sorted(grams) * 2], np.int64)
    found = alike_by_words(hashes, owners, sides, 0.5)
    wanted = {
        (i, j): len(a & b) / len(a | b)
        for j, (b, q) in enumerate(rows)
        for i, (a, p) in enumerate(rows[:j])
        if p != q and min(p, q) >= 0 and 2 * len(a & b) >= len(a | b)
    }
    assert as_set(found) == set(wanted)
    for i, j, similarity in zip(found.left, found.right, found.similarity, strict=True):
        assert similarity == wanted[min(i, j), max(i, j)]


@given(st.integers(0, 9), st.data())
def test_pairs_by_meaning_are_those_of_all_pairs(count: int, data: Any) -> None:
    whole = arrays.arrays(np.float32, (count, 2), elements=st.sampled_from([-1.0, 0.0, 1.0]))
    vectors = data.draw(whole)
    sides = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=count, max_size=count)), np.int64)
    wanted = {
        (i, j)
        for j in range(count)
        for i in range(j)
        if sides[i] != sides[j] and min(sides[i], sides[j]) >= 0 and vectors[i] @ vectors[j] >= 1
    }
    assert as_set(alike_by_meaning(vectors, sides, 1.0)) == wanted


def test_rows_of_one_user_on_two_sides_are_a_pair_and_those_of_nobody_are_not() -> None:
    users = ["u", None, "u", "v", None, "u"]
    found = of_one_user(users, np.array([0, 0, 1, 1, 1, -1]))
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == {(0, 2), (2, 0)}


EDGES = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(lambda two: two[0] != two[1]), max_size=20)


def pairs(edges: list[tuple[int, int]]) -> Pairs:
    left, right = np.array(edges, np.int64).reshape(-1, 2).T
    return Pairs("words", left, right, np.full(len(left), 0.7))


@given(EDGES, st.permutations(range(9)))
def test_what_stays_is_apart_and_what_goes_resembles_an_earlier_one_that_stays(
    edges: list[tuple[int, int]], order: list[int]
) -> None:
    gone = settle(order, [pairs(edges)])
    both = {frozenset(two) for two in edges}
    stays = [i for i in range(9) if i not in gone]
    assert not any(frozenset((i, j)) in both for i in stays for j in stays if i != j)
    for i, rival in gone.items():
        assert rival.row in stays
        assert frozenset((i, rival.row)) in both
        assert order.index(rival.row) < order.index(i)


@given(EDGES, st.permutations(range(9)), st.integers(0, 9))
def test_who_comes_last_changes_nothing_for_those_before(
    edges: list[tuple[int, int]], order: list[int], count: int
) -> None:
    first = set(order[:count])
    before = settle(order[:count], [pairs([two for two in edges if set(two) <= first])])
    assert before == {i: rival for i, rival in settle(order, [pairs(edges)]).items() if i in first}


def test_the_first_kind_and_then_the_most_similar_rival_is_named() -> None:
    by_user = Pairs("user", np.array([3]), np.array([0]), np.ones(1))
    by_words = Pairs("words", np.array([3, 3]), np.array([1, 2]), np.array([0.6, 0.8]))
    assert settle(range(4), [by_user, by_words])[3].row == 0
    assert settle(range(4), [by_words])[3].row == 2
    assert settle(range(4), []) == {}
