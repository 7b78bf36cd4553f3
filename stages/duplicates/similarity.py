"""The exact Jaccard similarity of two sets of n-grams, and what tells most pairs apart without it."""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.duplicates.grams import MARKS, GramSets, set_of
from stages.duplicates.vectors import bits_in


def similarities(a: GramSets, left: np.ndarray, b: GramSets, right: np.ndarray) -> np.ndarray:
    """Return the Jaccard similarity of row `left[i]` of `a` and row `right[i]` of `b`, float64."""
    found = np.empty(len(left), np.float64)
    _compare(a, left, b, right, found)
    return found


@njit(cache=True, nogil=True)
def common(a: np.ndarray, b: np.ndarray, enough: int) -> int:
    """Return how many values two sorted sets share, or some smaller number once `enough` is out of reach."""
    i, j, shared = 0, 0, 0
    spare_a, spare_b = len(a) - enough, len(b) - enough
    while i < len(a) and j < len(b) and i - shared <= spare_a and j - shared <= spare_b:
        x, y = a[i], b[j]
        shared += x == y
        i += x <= y
        j += y <= x
    return shared


@njit(cache=True, nogil=True)
def apart(marks: np.ndarray, a: int, others: np.ndarray, b: int) -> int:
    """Return how many values, at least, the set of row `a` holds and that of row `b` of others does not.

    In a bucket that only one set has marked, it has a value that the other has not.
    """
    count = 0
    for k in range(MARKS):
        count += bits_in(marks[a, k] & ~others[b, k])
    return count


@njit(cache=True, nogil=True)
def may_be_similar(
    counts: np.ndarray,
    marks: np.ndarray,
    a: int,
    other_counts: np.ndarray,
    other_marks: np.ndarray,
    b: int,
    threshold: float,
) -> bool:
    """Return whether the Jaccard similarity of two rows may reach the threshold, by their marks and counts.

    With x n-grams, at least, in one row alone and y in the other alone, those in common are at most u, the least of the
    counts without them, and the similarity at most u / (u + x + y).
    """
    x, y = apart(marks, a, other_marks, b), apart(other_marks, b, marks, a)
    shared = min(counts[a] - x, other_counts[b] - y)
    return shared >= threshold * (shared + x + y) - 1e-6


@njit(cache=True, nogil=True)
def _compare(a: GramSets, left: np.ndarray, b: GramSets, right: np.ndarray, found: np.ndarray) -> None:
    for k in range(len(left)):
        mine, theirs = set_of(left[k], a), set_of(right[k], b)
        shared = common(mine, theirs, 0)
        union = len(mine) + len(theirs) - shared
        found[k] = shared / union if union else 1.0
