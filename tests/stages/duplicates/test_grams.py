"""Sets of n-grams are those of the definition, whenever they are made, and marks never promise too much."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.duplicates.grams import Lot, known_lot, marked_rows, new_lot, set_in
from stages.duplicates.similarity import apart, may_be_similar, similarities, similarity
from stages.duplicates.words import Parts, jaccard, shingles
from tests.stages.duplicates.test_minhash import ROWS, folded

LONG = st.lists(st.lists(st.integers(0, 400), max_size=400), min_size=2, max_size=4)


def lot_of(rows: Sequence[Parts], words: int) -> Lot:
    return new_lot(some := folded(rows), marked_rows(some, words))


def as_sets(lot: Lot, words: int) -> list[list[int]]:
    return [set_in(row, lot, words).tolist() for row in range(len(lot.folded))]


@given(ROWS, st.integers(1, 7))
def test_the_kernels_n_grams_are_those_of_the_definition(rows: list[Parts], words: int) -> None:
    made = [{gram.to_bytes(8, "little") for gram in grams} for grams in as_sets(lot_of(rows, words), words)]
    assert made == [set(shingles(parts, words)) for parts in rows]


@given(ROWS)
def test_sets_are_sorted_and_hold_nothing_twice(rows: list[Parts]) -> None:
    for grams in as_sets(lot_of(rows, 2), 2):
        assert grams == sorted(set(grams))


@given(ROWS)
def test_similarities_are_those_of_the_definition(rows: list[Parts]) -> None:
    left, right = map(np.ravel, np.indices((len(rows), len(rows))))
    lot, grams = lot_of(rows, 2), [shingles(parts, 2) for parts in rows]
    assert similarities(lot, left, lot, right, 2).tolist() == [
        jaccard(grams[i], grams[j]) for i, j in zip(left, right, strict=True)
    ]


@given(ROWS, st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_a_similarity_under_the_threshold_is_none_and_any_other_exact(rows: list[Parts], threshold: float) -> None:
    lot, grams = lot_of(rows, 2), [shingles(parts, 2) for parts in rows]
    for i, j in np.ndindex(len(rows), len(rows)):
        exact = jaccard(grams[i], grams[j])
        found = similarity(set_in(i, lot, 2), set_in(j, lot, 2), threshold)
        assert found == (exact if exact >= threshold else 0)


@given(ROWS, st.data())
def test_sets_that_are_held_and_sets_made_later_are_those_made_at_once(rows: list[Parts], data: st.DataObject) -> None:
    before, every = lot_of(rows, 2), lot_of(rows, 2)
    for row in data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True)) if rows else []:
        set_in(row, before, 2)
    held = before.made._replace(grams=before.made.grams[: before.bench.used[0]])
    assert as_sets(known_lot(before.folded, held), 2) == as_sets(every, 2)


@given(LONG)
def test_marks_never_tell_more_values_apart_than_there_are(numbers: list[list[int]]) -> None:
    rows = [[("", " ".join(map(str, row)))] for row in numbers]
    lot = lot_of(rows, 1)
    marks, grams = lot.held.marks, [set(one) for one in as_sets(lot, 1)]
    for i, mine in enumerate(grams):
        assert apart(marks, i, marks, i) == (0, 0)
        for j, theirs in enumerate(grams):
            x, y = apart(marks, i, marks, j)
            assert x <= len(mine - theirs)
            assert y <= len(theirs - mine)


@given(LONG, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_marks_and_counts_never_turn_away_what_is_similar(numbers: list[list[int]], threshold: float) -> None:
    rows = [[("", " ".join(map(str, row)))] for row in numbers]
    marked = marked_rows(folded(rows), 1)
    grams = [shingles(parts, 1) for parts in rows]
    for i in range(len(rows)):
        for j in range(len(rows)):
            similar = jaccard(grams[i], grams[j]) >= threshold
            assert not similar or may_be_similar(marked, i, marked, j, threshold)


def test_marks_tell_most_of_other_values_apart() -> None:
    rows = [[("", " ".join(f"{name}{n}" for n in range(200)))] for name in ("a", "b")]
    marks = marked_rows(folded(rows), 1).marks
    assert min(apart(marks, 0, marks, 1)) > 100
