"""Sets of n-grams are those of the definition, whether made at once or picked, and marks never promise too much."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.duplicates.grams import GramSets, gram_sets, joined_sets, marked_rows, no_sets, picked_sets, set_of
from stages.duplicates.similarity import apart, may_be_similar, similarities
from stages.duplicates.words import Parts, jaccard, shingles
from tests.stages.duplicates.test_minhash import ROWS, folded

LONG = st.lists(st.lists(st.integers(0, 400), max_size=400), min_size=2, max_size=4)


def members(rows: Sequence[Parts], words: int = 5) -> list[set[bytes]]:
    """Return the n-grams of each row by the kernel."""
    sets = gram_sets(folded(rows), np.arange(len(rows)), words)
    ranges = zip(sets.begins, sets.begins + sets.sizes, strict=True)
    return [{gram.tobytes() for gram in sets.grams[a:b]} for a, b in ranges]


@given(ROWS, st.integers(1, 7))
def test_the_kernels_n_grams_are_those_of_the_definition(rows: list[Parts], words: int) -> None:
    assert members(rows, words) == [set(shingles(parts, words)) for parts in rows]


@given(ROWS)
def test_sets_are_sorted_and_hold_nothing_twice(rows: list[Parts]) -> None:
    sets = gram_sets(folded(rows), np.arange(len(rows)), 2)
    for begin, size in zip(sets.begins, sets.sizes, strict=True):
        grams = sets.grams[begin : begin + size]
        assert (grams[1:] > grams[:-1]).all()


@given(ROWS)
def test_similarities_are_those_of_the_definition(rows: list[Parts]) -> None:
    left, right = map(np.ravel, np.indices((len(rows), len(rows))))
    sets = gram_sets(folded(rows), np.arange(len(rows)), 2)
    grams = [shingles(parts, 2) for parts in rows]
    assert similarities(sets, left, sets, right).tolist() == [
        jaccard(grams[i], grams[j]) for i, j in zip(left, right, strict=True)
    ]


def as_sets(sets: GramSets) -> list[list[int]]:
    return [set_of(row, sets).tolist() for row in range(len(sets.sizes))]


@given(ROWS, st.data())
def test_picked_sets_are_those_made_at_once(rows: list[Parts], data: st.DataObject) -> None:
    some, every = folded(rows), np.arange(len(rows))
    wanted = np.array(data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True)) if rows else [], np.int64)
    held = gram_sets(some, every[::2], 2)
    picked, made = picked_sets(some, held, wanted, 2), gram_sets(some, every, 2)
    assert as_sets(picked) == [as_sets(made)[row] for row in wanted]
    assert picked.marks.tolist() == made.marks[wanted].tolist()
    assert as_sets(joined_sets([picked, held, no_sets(0)])) == as_sets(picked) + as_sets(held)


@given(LONG)
def test_marks_never_tell_more_values_apart_than_there_are(numbers: list[list[int]]) -> None:
    rows = [[("", " ".join(map(str, row)))] for row in numbers]
    sets = gram_sets(folded(rows), np.arange(len(rows)), 1)
    grams = [set(one) for one in as_sets(sets)]
    for i, mine in enumerate(grams):
        assert apart(sets.marks, i, sets.marks, i) == 0
        for j, theirs in enumerate(grams):
            assert apart(sets.marks, i, sets.marks, j) <= len(mine - theirs)


@given(LONG, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_marks_and_counts_never_turn_away_what_is_similar(numbers: list[list[int]], threshold: float) -> None:
    rows = [[("", " ".join(map(str, row)))] for row in numbers]
    marked = marked_rows(folded(rows), 1)
    counts, marks = marked.counts, marked.marks
    grams = [shingles(parts, 1) for parts in rows]
    for i in range(len(rows)):
        for j in range(len(rows)):
            similar = jaccard(grams[i], grams[j]) >= threshold
            assert not similar or may_be_similar(counts, marks, i, counts, marks, j, threshold)


def test_marks_tell_most_of_other_values_apart() -> None:
    rows = [[("", " ".join(f"{name}{n}" for n in range(200)))] for name in ("a", "b")]
    sets = gram_sets(folded(rows), np.arange(2), 1)
    assert apart(sets.marks, 0, sets.marks, 1) > 100
