"""The n-grams of folded rows as sorted sets of hashes, and the exact Jaccard similarity of two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from stages.duplicates.folding import Folded, over_rows
from stages.duplicates.words import END, MIX, PART, SPREAD, WORD_PRIME

SPACE, PART_BYTE, END_BYTE = ord(" "), ord(PART), ord(END)
PRIME_64, SPREAD_64, MIX_64 = np.uint64(WORD_PRIME), np.uint64(SPREAD), np.uint64(MIX)
SHIFT_3, SHIFT_29, SHIFT_32, SHIFT_33 = np.uint64(3), np.uint64(29), np.uint64(32), np.uint64(33)
ONE, LOW_3, LOW_6 = np.uint64(1), np.uint64(7), np.uint64(63)
TWO, FOUR, SHIFT_56 = np.uint64(2), np.uint64(4), np.uint64(56)
ODD_BITS, ODD_PAIRS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
ODD_NIBBLES, EVERY_BYTE = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
"""What counts the bits of a word (Warren, Hacker's Delight, 5-1)."""
MARKS = 8
"""Words of a row's marks: a line of the cache, and enough to tell most sets apart that share less than two thirds."""


class GramSets(NamedTuple):
    """N-grams of some rows as sorted sets: those of row `d` are `grams[begins[d]:begins[d] + sizes[d]]`."""

    grams: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    """Of rows that were not asked for, 0."""
    marks: np.ndarray
    """For each row the buckets, of `64 * MARKS`, that its n-grams fall in, shape (rows, MARKS), uint64."""

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Return which of some rows are not held."""
        return rows[self.sizes[rows] == 0]


def gram_sets(folded: Folded, rows: np.ndarray, words: int) -> GramSets:
    """Return the n-grams of the rows whose numbers are in `rows`, as sorted sets."""
    counts = np.zeros(len(rows) + 1, np.int64)
    _count_grams(folded.data, folded.at, rows, words, counts)
    begins = np.cumsum(counts)
    found = no_sets(len(folded))._replace(grams=np.empty(begins[-1], np.uint64))
    found.begins[rows] = begins[:-1]

    def fill(first: int, last: int) -> None:
        _fill_sets(folded.data, folded.at, rows, first, last, words, begins, found)

    over_rows(fill, 8 * begins)
    return found


def no_sets(rows: int) -> GramSets:
    """Return sets of which none is held yet."""
    marks = np.zeros((rows, MARKS), np.uint64)
    return GramSets(np.empty(0, np.uint64), np.zeros(rows, np.int64), np.zeros(rows, np.int32), marks)


def picked_sets(folded: Folded, held: GramSets, rows: np.ndarray, words: int) -> GramSets:
    """Return the sets of the rows whose numbers are in `rows`, in that order; those that are not held are made."""
    more = gram_sets(folded, held.missing(rows), words)
    sizes = held.sizes[rows] + more.sizes[rows]
    begins = np.cumsum(np.append(0, sizes.astype(np.int64)))
    found = GramSets(np.empty(begins[-1], np.uint64), begins[:-1], sizes, held.marks[rows] | more.marks[rows])
    _copy_sets(held, more, rows, found)
    return found


def joined_sets(some: Sequence[GramSets]) -> GramSets:
    """Return the sets of several, one after another."""
    starts = np.cumsum([0, *(len(one.grams) for one in some)])
    moved = [one._replace(begins=one.begins + start) for one, start in zip(some, starts, strict=False)]
    return GramSets(*map(np.concatenate, zip(*moved, strict=True)))


def similarities(a: GramSets, left: np.ndarray, b: GramSets, right: np.ndarray) -> np.ndarray:
    """Return the Jaccard similarity of row `left[i]` of `a` and row `right[i]` of `b`, float64."""
    found = np.empty(len(left), np.float64)
    _compare(a, left, b, right, found)
    return found


@njit(cache=True, nogil=True)
def hashed_grams(data: np.ndarray, i: int, end: int, window: np.ndarray, power: np.uint64, out: np.ndarray) -> int:
    """Write the hashed n-grams of the folded row `data[i:end]` into `out` and return how many; see `words`.

    `window` holds the last words, as many as an n-gram has; `power` is the weight of the word that leaves it.
    """
    n = 0
    while i < end:
        name = np.uint64(0)
        while data[i] != PART_BYTE:
            name = (name ^ np.uint64(data[i])) * PRIME_64 + SPREAD_64
            i += 1
        name ^= name >> SHIFT_32
        window[:] = 0
        total = np.uint64(0)
        words = 0
        slot = 0
        while data[i] != END_BYTE:
            i += 1
            word = np.uint64(0)
            while data[i] != SPACE and data[i] != END_BYTE:
                word = (word ^ np.uint64(data[i])) * PRIME_64 + SPREAD_64
                i += 1
            word ^= word >> SHIFT_32
            total = total * SPREAD_64 + word - window[slot] * power
            window[slot] = word
            slot = slot + 1 if slot + 1 < len(window) else 0
            words += 1
            out[n] = mixed(total + name)
            n += words >= len(window)
        n += words < len(window)
        i += 1
    return n


@njit(cache=True, nogil=True)
def mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> SHIFT_33)) * MIX_64
    return value ^ (value >> SHIFT_29)


@njit(cache=True, nogil=True)
def power_of(words: int) -> np.uint64:
    power = np.uint64(1)
    for _ in range(words):
        power *= SPREAD_64
    return power


@njit(cache=True, nogil=True)
def _count_grams(data: np.ndarray, at: np.ndarray, rows: np.ndarray, words: int, counts: np.ndarray) -> None:
    """Write into `counts[k + 1]` how many n-grams row `rows[k]` has, repeats included."""
    for k in range(len(rows)):
        length = 0
        for i in range(at[rows[k]], at[rows[k] + 1]):
            if data[i] == PART_BYTE:
                length = 1
            elif data[i] == SPACE:
                length += 1
            elif data[i] == END_BYTE:
                counts[k + 1] += max(1, length - words + 1)


@njit(cache=True, nogil=True)
def _fill_sets(
    data: np.ndarray,
    at: np.ndarray,
    rows: np.ndarray,
    first: int,
    last: int,
    words: int,
    begins: np.ndarray,
    found: GramSets,
) -> None:
    """Write the sorted sets of n-grams of the rows `rows[first:last]` to their places in `found`."""
    window = np.zeros(words, np.uint64)
    power = power_of(words)
    most = np.max(begins[first + 1 : last + 1] - begins[first:last]) if last > first else 0
    some, starts = np.empty(most + 1, np.uint64), np.empty(2 * most + 2, np.int32)
    for k in range(first, last):
        row = rows[k]
        count = hashed_grams(data, at[row], at[row + 1], window, power, some)
        found.sizes[row] = _sorted_set(some[:count], starts, found.grams[begins[k] : begins[k + 1]])
        for gram in some[:count]:
            found.marks[row, gram & LOW_3] |= ONE << (gram >> SHIFT_3 & LOW_6)


@njit(cache=True, nogil=True)
def _sorted_set(values: np.ndarray, starts: np.ndarray, out: np.ndarray) -> int:
    """Write the distinct values in order to `out` and return how many.

    The values are hashes, so evenly spread: their leading bits all but sort them, and insertion does the rest.
    """
    bits = 0
    while 1 << bits < len(values):
        bits += 1
    shift = np.uint64(63 - bits)
    starts[: (1 << bits) + 1] = 0
    for value in values:
        starts[np.int64(value >> shift >> np.uint64(1)) + 1] += 1
    for k in range(1 << bits):
        starts[k + 1] += starts[k]
    for value in values:
        bucket = np.int64(value >> shift >> np.uint64(1))
        out[starts[bucket]] = value
        starts[bucket] += 1
    n = 0
    for k in range(len(values)):
        value = out[k]
        j = n
        while j > 0 and out[j - 1] > value:
            j -= 1
        if j == 0 or out[j - 1] != value:
            for m in range(n, j, -1):
                out[m] = out[m - 1]
            out[j] = value
            n += 1
    return n


@njit(cache=True, nogil=True)
def set_of(row: int, sets: GramSets) -> np.ndarray:
    """Return the set of a row."""
    return sets.grams[sets.begins[row] : sets.begins[row] + sets.sizes[row]]


@njit(cache=True, nogil=True)
def _copy_sets(held: GramSets, more: GramSets, rows: np.ndarray, found: GramSets) -> None:
    for k in range(len(rows)):
        set_of(k, found)[:] = set_of(rows[k], held if held.sizes[rows[k]] else more)


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
def apart(a: np.ndarray, b: np.ndarray) -> np.int64:
    """Return how many values, at least, the set with marks `a` holds and that with marks `b` does not.

    In a bucket that only one set has marked, it has a value that the other has not.
    """
    count = np.int64(0)
    for k in range(MARKS):
        rest = a[k] & ~b[k]
        rest -= rest >> ONE & ODD_BITS
        rest = (rest & ODD_PAIRS) + (rest >> TWO & ODD_PAIRS)
        count += np.int64(((rest + (rest >> FOUR)) & ODD_NIBBLES) * EVERY_BYTE >> SHIFT_56)
    return count


@njit(cache=True, nogil=True)
def _compare(a: GramSets, left: np.ndarray, b: GramSets, right: np.ndarray, found: np.ndarray) -> None:
    for k in range(len(left)):
        mine, theirs = set_of(left[k], a), set_of(right[k], b)
        shared = common(mine, theirs, 0)
        union = len(mine) + len(theirs) - shared
        found[k] = shared / union if union else 1.0
