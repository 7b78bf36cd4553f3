"""The exact Jaccard similarity of two sets of n-grams, and what tells most pairs apart without it."""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.duplicates.eights import bits_beyond, shared_of_eight
from stages.duplicates.grams import MARKS, GramSets, Lot, set_in
from stages.vectors.llvm import EIGHT


def similarities(a: Lot, left: np.ndarray, b: Lot, right: np.ndarray, words: int) -> np.ndarray:
    """Return the Jaccard similarity of row `left[i]` of `a` and row `right[i]` of `b`, float64."""
    found = np.empty(len(left), np.float64)
    _compare(a, left, b, right, words, found)
    return found


@njit(cache=True, nogil=True)
def similarity(a: np.ndarray, b: np.ndarray, threshold: float) -> float:
    """Return the Jaccard similarity of two sorted sets, or 0 once it cannot reach the threshold, which is over 0."""
    size = len(a) + len(b)
    enough = threshold / (1 + threshold) * size - 1e-6
    if min(len(a), len(b)) < enough:
        return 0.0
    shared = _common(a, b, int(enough))
    found = shared / (size - shared) if size else 1.0
    return found if found >= threshold else 0.0


@njit(cache=True, nogil=True)
def _common(a: np.ndarray, b: np.ndarray, enough: int) -> int:
    """Return how many values two sorted sets share, or some smaller number once `enough` is out of reach."""
    i, j, shared = 0, 0, 0
    spare_a, spare_b = len(a) - enough, len(b) - enough
    while i + EIGHT <= len(a) and j + EIGHT <= len(b) and i - shared <= spare_a and j - shared <= spare_b:
        shared += shared_of_eight(a, i, b, j)
        x, y = a[i + EIGHT - 1], b[j + EIGHT - 1]
        i += EIGHT * (x <= y)
        j += EIGHT * (y <= x)
    while i < len(a) and j < len(b) and i - shared <= spare_a and j - shared <= spare_b:
        x, y = a[i], b[j]
        shared += x == y
        i += x <= y
        j += y <= x
    return shared


@njit(cache=True, nogil=True)
def apart(marks: np.ndarray, a: int, others: np.ndarray, b: int) -> tuple[int, int]:
    """Return how many values, at least, the set of row `a` alone holds, and that of row `b` of others alone.

    In a bucket that only one set has marked, it has a value that the other has not.
    """
    mine, theirs = marks[a], others[b]
    x, y = 0, 0
    for k in range(0, MARKS, EIGHT):
        x += bits_beyond(mine, theirs, k)
        y += bits_beyond(theirs, mine, k)
    return x, y


@njit(cache=True, nogil=True)
def may_be_similar(some: GramSets, a: int, others: GramSets, b: int, threshold: float) -> bool:
    """Return whether the Jaccard similarity of two rows may reach the threshold, by their marks and counts.

    With x n-grams, at least, in one row alone and y in the other alone, those in common are at most u, the least of the
    counts without them, and the similarity at most u / (u + x + y).
    """
    x, y = apart(some.marks, a, others.marks, b)
    shared = min(some.counts[a] - x, others.counts[b] - y)
    return shared >= threshold * (shared + x + y) - 1e-6


@njit(cache=True, nogil=True)
def _compare(a: Lot, left: np.ndarray, b: Lot, right: np.ndarray, words: int, found: np.ndarray) -> None:
    for k in range(len(left)):
        mine, theirs = set_in(left[k], a, words), set_in(right[k], b, words)
        shared = _common(mine, theirs, 0)
        union = len(mine) + len(theirs) - shared
        found[k] = shared / union if union else 1.0
