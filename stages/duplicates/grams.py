"""The n-grams of folded rows as sorted sets of hashes, and the marks by which most sets are told apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stages.duplicates.eights import EMPTY, chain_eight, copy_used
from stages.duplicates.hashing import NOTHING, hash_words, hashed
from stages.duplicates.rows import Folded, fresh, over_rows
from stages.duplicates.words import END, PART
from stages.vectors.lines import bits_in, blanks_in, first_bit, record_separators
from stages.vectors.llvm import EIGHT, LINE

SPACE, PART_BYTE, END_BYTE = ord(" "), ord(PART), ord(END)
ONE, VACANT = np.uint64(1), np.uint64(EMPTY)
SHIFT_4, LOW_4, LOW_6 = np.uint64(4), np.uint64(15), np.uint64(63)
MARKS = 16
"""Words of a row's marks: two lines of the cache, and enough to tell most sets apart that share three quarters."""


class GramSets(NamedTuple):
    """N-grams of some rows as sorted sets: those of row `d` are `grams[begins[d]:begins[d] + sizes[d]]`."""

    grams: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    """Of rows that were not asked for, 0."""
    counts: np.ndarray
    """How many n-grams each row has at most, shape (rows,), int32: repeats included, or the size where it is known."""
    marks: np.ndarray
    """For each row the buckets, of `64 * MARKS`, that its n-grams fall in, shape (rows, MARKS), uint64."""


class Room(NamedTuple):
    """Room for one row after another: more than the row is long."""

    bounds: np.ndarray
    """What bounds its words, see `hash_eight`."""
    hashes: np.ndarray
    """Hashes of its words."""
    grams: np.ndarray
    """Hashes of its n-grams."""


class Bench(NamedTuple):
    """What making one set after another takes."""

    room: Room
    table: np.ndarray
    used: np.ndarray
    """How many places of the sets' `grams` are taken, shape (1,)."""


class Lot(NamedTuple):
    """Folded rows and their sets of n-grams, each of which is made when it is first asked for; see `set_in`.

    One thread at a time may ask.
    """

    folded: Folded
    held: GramSets
    """Sets made before, which may lie in a file."""
    made: GramSets
    """Room for those that are not held."""
    bench: Bench


def new_lot(folded: Folded, marked: GramSets) -> Lot:
    """Return rows none of whose sets are made yet, as `marked_rows` knows them."""
    room = marked.counts.sum(dtype=np.int64)
    sets = marked._replace(grams=fresh((room + EIGHT,), np.uint64, filled=False))
    return Lot(folded, sets, sets, _bench_for(folded))


def known_lot(folded: Folded, held: GramSets) -> Lot:
    """Return rows of whose sets some are held."""
    room = held.counts.sum(dtype=np.int64)
    begins, sizes, counts = np.zeros_like(held.begins), np.zeros_like(held.sizes), np.zeros_like(held.counts)
    made = GramSets(fresh((room + EIGHT,), np.uint64, filled=False), begins, sizes, counts, held.marks)
    return Lot(folded, held, made, _bench_for(folded))


def _bench_for(folded: Folded) -> Bench:
    longest = int(np.diff(folded.at).max(initial=0))
    spare = longest + 1 + 2 * EIGHT
    room = Room(*(fresh((spare,), kind, filled=False) for kind in (np.int64, np.uint64, np.uint64)))
    return Bench(room, fresh((9 * spare,), np.uint64, filled=False), np.zeros(1, int))


def marked_rows(folded: Folded, words: int) -> GramSets:
    """Return the marks and counts of all rows; none of their n-grams are held."""
    found = no_sets(len(folded))
    over_rows(lambda first, last: _mark_rows(folded.data, folded.at, first, last, words, found), folded.at)
    return found


def no_sets(rows: int) -> GramSets:
    """Return sets of which none is held yet."""
    marks = fresh((rows, MARKS), np.uint64, filled=True)
    sizes = np.zeros(rows, np.int32)
    return GramSets(np.empty(0, np.uint64), np.zeros(rows, np.int64), sizes, sizes.copy(), marks)


@njit(cache=True, nogil=True)
def hashed_grams(data: np.ndarray, i: int, end: int, words: int, room: Room) -> int:
    """Write the hashed n-grams of the folded row `data[i:end]` into `room.grams` and return how many; see `words`."""
    n = 0
    while i < end:
        stop = i
        while data[stop] != PART_BYTE:
            stop += 1
        name = hashed(data, i, stop - i, NOTHING)
        i = stop + 1
        count = _find_words(data, i, room.bounds)
        hash_words(data, room.bounds, count, room.hashes)
        length = min(words, count)
        grams = count - length + 1
        for k in range(0, grams, EIGHT):
            chain_eight(room.hashes, k, length, name, room.grams, n + k)
        n += grams
        i = room.bounds[count] + 1
    return n


@njit(cache=True, nogil=True)
def _find_words(data: np.ndarray, i: int, bounds: np.ndarray) -> int:
    """Write what bounds the words of the part whose words begin at `data[i]`, and return how many words there are."""
    bounds[0] = i - 1
    count = 0
    last = NOTHING
    while last == NOTHING:
        ends, last = _ends(data, i)
        found = bits_in(ends)
        for start in range(1, found + 1, EIGHT):  # eight whether there are so many or not: to guess is dearer
            for k in range(EIGHT):
                bounds[count + start + k] = i + first_bit(ends)
                ends &= ends - ONE
        count += found
        i += LINE
    return count


@njit(cache=True, nogil=True)
def _ends(data: np.ndarray, i: int) -> tuple[np.uint64, np.uint64]:
    """Return which of `data[i:i + LINE]` end a word of this part, and which a part; the data may end before."""
    spaces, last = NOTHING, NOTHING
    if i + LINE <= len(data):
        spaces, last = blanks_in(data, i), record_separators(data, i)
    else:
        for k in range(len(data) - i):
            spaces |= np.uint64(data[i + k] == SPACE) << np.uint64(k)
            last |= np.uint64(data[i + k] == END_BYTE) << np.uint64(k)
    return (spaces | last) & (last ^ (last - ONE)), last


@njit(cache=True, nogil=True)
def _make_set(data: np.ndarray, at: np.ndarray, row: int, words: int, bench: Bench, sets: GramSets) -> None:
    """Add the set of a row to `sets`."""
    count = hashed_grams(data, at[row], at[row + 1], words, bench.room)
    begin = bench.used[0]
    size = _sorted_set(bench.room.grams[:count], bench.table, sets.grams[begin:])
    sets.begins[row], sets.sizes[row], sets.counts[row] = begin, size, size
    bench.used[0] += size


@njit(cache=True, nogil=True)
def _mark_rows(data: np.ndarray, at: np.ndarray, first: int, last: int, words: int, found: GramSets) -> None:
    room = room_for(at, first, last)
    for row in range(first, last):
        found.counts[row] = hashed_grams(data, at[row], at[row + 1], words, room)
        mark(room.grams[: found.counts[row]], found.marks[row])


@njit(cache=True, nogil=True)
def room_for(at: np.ndarray, first: int, last: int) -> Room:
    """Return room for the words and n-grams of each of some rows."""
    longest = 0
    for row in range(first, last):
        longest = max(longest, at[row + 1] - at[row])
    spare = longest + 1 + 2 * EIGHT
    return Room(np.empty(spare, np.int64), np.empty(spare, np.uint64), np.empty(spare, np.uint64))


@njit(cache=True, nogil=True)
def mark(grams: np.ndarray, marks: np.ndarray) -> None:
    """Mark the buckets that n-grams fall in."""
    for gram in grams:
        marks[gram & LOW_4] |= ONE << (gram >> SHIFT_4 & LOW_6)


@njit(cache=True, nogil=True)
def _sorted_set(values: np.ndarray, table: np.ndarray, out: np.ndarray) -> int:
    """Write the distinct values in order to `out` and return how many; of `out` `EIGHT` places more may be written to.

    The values are hashes, so evenly spread: in a table of at least four times their number their leading bits say where
    each belongs, and what stands there already moves on if it is greater. `table` has room for `_bench_for`'s number.
    """
    bits = 3
    while 1 << bits < 4 * len(values):
        bits += 1
    shift = np.uint64(64 - bits)
    places = table[: (1 << bits) + (len(values) + EIGHT - 1) // EIGHT * EIGHT]
    places[:] = VACANT
    greatest = False
    for value in values:
        place = np.int64(value >> shift)
        while places[place] < value:
            place += 1
        greatest |= value == VACANT
        if places[place] != value:
            while value != VACANT:
                places[place], value = value, places[place]
                place += 1
    return _without_gaps(places, out) + greatest


@njit(cache=True, nogil=True)
def _without_gaps(places: np.ndarray, out: np.ndarray) -> int:
    """Write all of `places` that is not empty to `out` and return how many."""
    n = 0
    for k in range(0, len(places), EIGHT):
        n += copy_used(places, k, out, n)
    return n


@njit(cache=True, nogil=True)
def set_in(row: int, lot: Lot, words: int) -> np.ndarray:
    """Return the set of a row, made if it is not there yet."""
    if lot.held.sizes[row]:
        return _set_of(row, lot.held)
    if not lot.made.sizes[row]:
        _make_set(lot.folded.data, lot.folded.at, row, words, lot.bench, lot.made)
    return _set_of(row, lot.made)


@njit(cache=True, nogil=True)
def _set_of(row: int, sets: GramSets) -> np.ndarray:
    return sets.grams[sets.begins[row] : sets.begins[row] + sets.sizes[row]]
