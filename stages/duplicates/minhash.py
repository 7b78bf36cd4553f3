"""MinHash signatures and their bands of folded rows, and the exact Jaccard similarity that confirms a candidate.

Signatures are those of datasketch's `MinHash(scheme="affine32")` (Broder 1997; the affine permutations of datasketch
2.0) over the low half of each hashed n-gram. Bands: Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, chapter 3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.folding import Folded, over_rows
from stages.duplicates.words import END, MIX, PART, SPREAD, WORD_PRIME

SPACE, PART_BYTE, END_BYTE = ord(" "), ord(PART), ord(END)
PRIME_64, SPREAD_64, MIX_64 = np.uint64(WORD_PRIME), np.uint64(SPREAD), np.uint64(MIX)
SHIFT_29, SHIFT_32, SHIFT_33 = np.uint64(29), np.uint64(32), np.uint64(33)
BLOCK = 256
"""Rows whose signatures are held at a time: few enough to stay in the cache."""
LANES = 4
"""N-grams taken at a time by the innermost loop, so that permutations are read once for all of them."""


class GramSets(NamedTuple):
    """N-grams of some rows as sorted sets: those of row `d` are `grams[begins[d]:begins[d] + sizes[d]]`."""

    grams: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    """Of rows that were not asked for, 0."""


def permutations(params: SketchParams) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors and offsets of datasketch's affine32 permutations, shape (permutations,), uint32."""
    generator = np.random.RandomState(params.seed)
    factors = generator.randint(0, 1 << 31, params.permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, generator.randint(0, 1 << 32, params.permutations, dtype=np.uint32)


def signatures(folded: Folded, params: SketchParams) -> np.ndarray:
    """Return the signature of every row, shape (rows, permutations), uint32."""
    factors, offsets = permutations(params)

    def some(first: int, last: int) -> np.ndarray:
        signed = np.empty((last - first, params.permutations), np.uint32)
        _sign(folded.data, folded.at, first, params.words, factors, offsets, signed)
        return signed

    return np.concatenate(over_rows(some, folded.at))


def band_keys(folded: Folded, params: SketchParams) -> np.ndarray:
    """Return a hash of each band of every row's signature, shape (rows, bands), uint64."""
    factors, offsets = permutations(params)

    def some(first: int, last: int) -> np.ndarray:
        keys = np.empty((last - first, params.bands), np.uint64)
        for start in range(0, len(keys), BLOCK):
            block = keys[start : start + BLOCK]
            signed = np.empty((len(block), params.permutations), np.uint32)
            _sign(folded.data, folded.at, first + start, params.words, factors, offsets, signed)
            _hash_bands(signed, params.rows, block)
        return keys

    return np.concatenate(over_rows(some, folded.at))


def gram_sets(folded: Folded, rows: np.ndarray, words: int) -> GramSets:
    """Return the n-grams of the rows whose numbers are in `rows`, as sorted sets."""
    counts = np.zeros(len(rows) + 1, np.int64)
    _count_grams(folded.data, folded.at, rows, words, counts)
    begins, sizes = np.cumsum(counts), np.zeros(len(rows), np.int32)
    found = GramSets(np.empty(begins[-1], np.uint64), np.zeros(len(folded), np.int64), np.zeros(len(folded), np.int32))

    def fill(first: int, last: int) -> None:
        _fill_sets(folded.data, folded.at, rows, first, last, words, found.grams, begins, sizes)

    over_rows(fill, 8 * begins)
    found.begins[rows], found.sizes[rows] = begins[:-1], sizes
    return found


def row_keys(folded: Folded, seed: int) -> np.ndarray:
    """Return a 64-bit hash of every row's bytes, shape (rows,), uint64."""

    def some(first: int, last: int) -> np.ndarray:
        keys = np.empty(last - first, np.uint64)
        _hash_rows(folded.data, folded.at, first, np.uint64(seed), keys)
        return keys

    return np.concatenate(over_rows(some, folded.at))


def similarities(a: GramSets, left: np.ndarray, b: GramSets, right: np.ndarray) -> np.ndarray:
    """Return the Jaccard similarity of row `left[i]` of `a` and row `right[i]` of `b`, float64."""
    found = np.empty(len(left), np.float64)
    _compare(*a, left, *b, right, found)
    return found


@njit(cache=True, nogil=True)
def _grams(data: np.ndarray, i: int, end: int, window: np.ndarray, power: np.uint64, out: np.ndarray) -> int:
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
            out[n] = _mixed(total + name)
            n += words >= len(window)
        n += words < len(window)
        i += 1
    return n


@njit(cache=True, nogil=True)
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> SHIFT_33)) * MIX_64
    return value ^ (value >> SHIFT_29)


@njit(cache=True, nogil=True)
def _power(words: int) -> np.uint64:
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
    grams: np.ndarray,
    begins: np.ndarray,
    sizes: np.ndarray,
) -> None:
    """Write the sorted sets of n-grams of the rows `rows[first:last]` to their places in `grams`."""
    window = np.zeros(words, np.uint64)
    power = _power(words)
    most = np.max(begins[first + 1 : last + 1] - begins[first:last]) if last > first else 0
    some, starts = np.empty(most + 1, np.uint64), np.empty(2 * most + 2, np.int32)
    for k in range(first, last):
        count = _grams(data, at[rows[k]], at[rows[k] + 1], window, power, some)
        sizes[k] = _sorted_set(some[:count], starts, grams[begins[k] : begins[k + 1]])


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
def _least(grams: np.ndarray, count: int, factors: np.ndarray, offsets: np.ndarray, least: np.ndarray) -> None:
    """Write the least value of every permutation over `count` n-grams into `least`, uint32 modulo 2^32.

    `grams` has room for `LANES - 1` more; the last n-gram is repeated there, which changes no least value.
    """
    least[:] = 0xFFFFFFFF
    for lane in range(count, count + LANES - 1):
        grams[lane] = grams[count - 1]
    for j in range(0, count, LANES):
        a, b = _finalised(grams[j]), _finalised(grams[j + 1])
        c, d = _finalised(grams[j + 2]), _finalised(grams[j + 3])
        for k in range(len(least)):
            factor, offset = factors[k], offsets[k]
            low = min(np.uint32(factor * a + offset), np.uint32(factor * b + offset))
            other = min(np.uint32(factor * c + offset), np.uint32(factor * d + offset))
            least[k] = min(least[k], min(low, other))


@njit(cache=True, nogil=True)
def _finalised(value: np.uint64) -> np.uint32:
    """Return MurmurHash3's finaliser of the low half, as datasketch mixes every hash before it permutes it."""
    mixed = np.uint32(value)
    mixed ^= mixed >> np.uint32(16)
    mixed = np.uint32(mixed * np.uint32(0x85EBCA6B))
    mixed ^= mixed >> np.uint32(13)
    mixed = np.uint32(mixed * np.uint32(0xC2B2AE35))
    return mixed ^ (mixed >> np.uint32(16))


@njit(cache=True, nogil=True)
def _sign(
    data: np.ndarray,
    at: np.ndarray,
    first: int,
    words: int,
    factors: np.ndarray,
    offsets: np.ndarray,
    signed: np.ndarray,
) -> None:
    """Write the signatures of the rows from `first` on into `signed`."""
    window = np.zeros(words, np.uint64)
    power = _power(words)
    grams = np.empty(1024, np.uint64)
    for row in range(first, first + len(signed)):
        if len(grams) < at[row + 1] - at[row] + LANES:
            grams = np.empty(2 * (at[row + 1] - at[row]) + LANES, np.uint64)
        count = _grams(data, at[row], at[row + 1], window, power, grams)
        _least(grams, count, factors, offsets, signed[row - first])


@njit(cache=True, nogil=True)
def _hash_bands(signed: np.ndarray, band: int, keys: np.ndarray) -> None:
    """Write a hash of each `band` values of every signature into `keys`."""
    for row in range(len(keys)):
        for b in range(keys.shape[1]):
            key = np.uint64(b + 1)
            for k in range(b * band, (b + 1) * band):
                key = (key ^ np.uint64(signed[row, k])) * SPREAD_64
                key ^= key >> SHIFT_29
            keys[row, b] = key


@njit(cache=True, nogil=True)
def _hash_rows(data: np.ndarray, at: np.ndarray, first: int, seed: np.uint64, keys: np.ndarray) -> None:
    for row in range(first, first + len(keys)):
        key = _mixed(seed + np.uint64(at[row + 1] - at[row]))
        i = at[row]
        while i + 8 <= at[row + 1]:
            block = np.uint64(0)
            for k in range(8):
                block |= np.uint64(data[i + k]) << np.uint64(8 * k)
            key = _mixed((key ^ block) * SPREAD_64)
            i += 8
        for k in range(i, at[row + 1]):
            key = (key ^ np.uint64(data[k])) * PRIME_64 + SPREAD_64
        keys[row - first] = _mixed(key)


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
def _compare(
    grams: np.ndarray,
    begins: np.ndarray,
    sizes: np.ndarray,
    left: np.ndarray,
    other_grams: np.ndarray,
    other_begins: np.ndarray,
    other_sizes: np.ndarray,
    right: np.ndarray,
    found: np.ndarray,
) -> None:
    for k in range(len(left)):
        i, j = left[k], right[k]
        a = grams[begins[i] : begins[i] + sizes[i]]
        b = other_grams[other_begins[j] : other_begins[j] + other_sizes[j]]
        shared = common(a, b, 0)
        union = len(a) + len(b) - shared
        found[k] = shared / union if union else 1.0
