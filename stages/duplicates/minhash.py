"""MinHash signatures of folded rows and their bands, in which near-duplicates meet.

Signatures are those of datasketch's `MinHash(scheme="affine32")` (Broder 1997; the affine permutations of datasketch
2.0) over the low half of each hashed n-gram. Bands: Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, chapter 3.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.eights import lower_least
from stages.duplicates.grams import GramSets, hashed_grams, mark, no_sets, room_for
from stages.duplicates.hashing import SHIFT_29, SPREAD_64, hashed_row, mixed
from stages.duplicates.rows import Folded, fresh, over_rows
from stages.vectors.llvm import EIGHT, LANES


def permutations(params: SketchParams) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors and offsets of datasketch's affine32 permutations, shape (permutations,), uint32."""
    generator = np.random.RandomState(params.seed)
    factors = generator.randint(0, 1 << 31, params.permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, generator.randint(0, 1 << 32, params.permutations, dtype=np.uint32)


def signatures(folded: Folded, params: SketchParams) -> np.ndarray:
    """Return the signature of every row, shape (rows, permutations), uint32."""
    factors, offsets = _whole_lanes(*permutations(params))
    signed = np.empty((len(folded), len(factors)), np.uint32)
    over_rows(lambda a, b: _sign(folded.data, folded.at, a, b, params.words, factors, offsets, signed), folded.at)
    return signed[:, : params.permutations]


def band_keys(folded: Folded, params: SketchParams) -> tuple[np.ndarray, GramSets]:
    """Return a hash of each band of every row's signature, shape (bands, rows), uint64, and see `marked_rows`."""
    factors, offsets = _whole_lanes(*permutations(params))
    keys, sets = fresh((params.bands, len(folded)), np.uint64, filled=True), no_sets(len(folded))

    def some(first: int, last: int) -> None:
        _sketch(folded.data, folded.at, first, last, params.words, factors, offsets, params.rows, keys, sets)

    over_rows(some, folded.at)
    return keys, sets


def _whole_lanes(factors: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return permutations with as many idle ones behind them as `lower_least` needs."""
    idle = -len(factors) % LANES
    return np.pad(factors, (0, idle)), np.pad(offsets, (0, idle))


def row_keys(folded: Folded, seed: int) -> np.ndarray:
    """Return a 64-bit hash of every row's bytes, shape (rows,), uint64."""

    keys = np.empty(len(folded), np.uint64)
    over_rows(lambda a, b: _hash_rows(folded.data, folded.at, a, b, np.uint64(seed), keys), folded.at)
    return keys


@njit(cache=True, nogil=True)
def _least(grams: np.ndarray, factors: np.ndarray, offsets: np.ndarray, values: np.ndarray, least: np.ndarray) -> None:
    """Write the least value of every permutation over the n-grams into `least`, uint32 modulo 2^32.

    `values` has room for as many as there are n-grams; the permutations are a multiple of `LANES`.
    """
    for j in range(len(grams)):
        values[j] = _finalised(grams[j])
    least[:] = 0xFFFFFFFF
    for k in range(0, len(least), LANES):
        lower_least(least, k, factors, offsets, values, len(grams))


@njit(cache=True, nogil=True)
def _finalised(value: np.uint64) -> np.uint32:
    """Return MurmurHash3's finaliser of the low half, as datasketch mixes every hash before it permutes it."""
    low = np.uint32(value)
    low ^= low >> np.uint32(16)
    low = np.uint32(low * np.uint32(0x85EBCA6B))
    low ^= low >> np.uint32(13)
    low = np.uint32(low * np.uint32(0xC2B2AE35))
    return low ^ (low >> np.uint32(16))


@njit(cache=True, nogil=True)
def _sign(
    data: np.ndarray,
    at: np.ndarray,
    first: int,
    last: int,
    words: int,
    factors: np.ndarray,
    offsets: np.ndarray,
    signed: np.ndarray,
) -> None:
    """Write the signatures of the rows `first` to `last` into `signed`."""
    room = room_for(at, first, last)
    values = np.empty(len(room.grams), np.uint32)
    for row in range(first, last):
        count = hashed_grams(data, at[row], at[row + 1], words, room)
        _least(room.grams[:count], factors, offsets, values, signed[row])


@njit(cache=True, nogil=True)
def _sketch(
    data: np.ndarray,
    at: np.ndarray,
    first: int,
    last: int,
    words: int,
    factors: np.ndarray,
    offsets: np.ndarray,
    band: int,
    keys: np.ndarray,
    sets: GramSets,
) -> None:
    """Write the band keys of the rows `first` to `last` into `keys`, their counts and marks into `sets`."""
    room = room_for(at, first, last)
    values, least = np.empty(len(room.grams), np.uint32), np.empty(len(factors), np.uint32)
    for row in range(first, last):
        count = hashed_grams(data, at[row], at[row + 1], words, room)
        sets.counts[row] = count
        mark(room.grams[:count], sets.marks[row])
        _least(room.grams[:count], factors, offsets, values, least)
        _hash_bands(least, band, keys[:, row])


@njit(cache=True, nogil=True)
def _hash_bands(signed: np.ndarray, band: int, keys: np.ndarray) -> None:
    """Write a hash of each `band` values of a signature into `keys`."""
    for b in range(len(keys)):
        key = np.uint64(b + 1)
        for k in range(b * band, (b + 1) * band):
            key = (key ^ np.uint64(signed[k])) * SPREAD_64
            key ^= key >> SHIFT_29
        keys[b] = key


@njit(cache=True, nogil=True)
def _hash_rows(data: np.ndarray, at: np.ndarray, first: int, last: int, seed: np.uint64, keys: np.ndarray) -> None:
    lanes = np.empty(EIGHT, np.uint64)
    for row in range(first, last):
        keys[row] = hashed_row(data, at[row], at[row + 1] - at[row], mixed(seed), lanes)
