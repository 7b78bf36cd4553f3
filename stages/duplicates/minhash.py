"""MinHash signatures of folded rows and their bands, in which near-duplicates meet.

Signatures are those of datasketch's `MinHash(scheme="affine32")` (Broder 1997; the affine permutations of datasketch
2.0) over the low half of each hashed n-gram. Bands: Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, chapter 3.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.grams import GramSets, hashed_grams, mark, no_sets, room_for
from stages.duplicates.hashing import SHIFT_29, SPREAD_64, hashed, mixed
from stages.duplicates.rows import Folded, fresh, over_rows

LANES = 4
"""N-grams taken at a time by the innermost loop, so that permutations are read once for all of them."""


def permutations(params: SketchParams) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors and offsets of datasketch's affine32 permutations, shape (permutations,), uint32."""
    generator = np.random.RandomState(params.seed)
    factors = generator.randint(0, 1 << 31, params.permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, generator.randint(0, 1 << 32, params.permutations, dtype=np.uint32)


def signatures(folded: Folded, params: SketchParams) -> np.ndarray:
    """Return the signature of every row, shape (rows, permutations), uint32."""
    factors, offsets = permutations(params)
    signed = np.empty((len(folded), params.permutations), np.uint32)
    over_rows(lambda a, b: _sign(folded.data, folded.at, a, b, params.words, factors, offsets, signed), folded.at)
    return signed


def band_keys(folded: Folded, params: SketchParams) -> tuple[np.ndarray, GramSets]:
    """Return a hash of each band of every row's signature, shape (rows, bands), uint64, and see `marked_rows`."""
    factors, offsets = permutations(params)
    keys, sets = fresh((len(folded), params.bands), np.uint64), no_sets(len(folded))

    def some(first: int, last: int) -> None:
        _sketch(folded.data, folded.at, first, last, params.words, factors, offsets, params.rows, keys, sets)

    over_rows(some, folded.at)
    return keys, sets


def row_keys(folded: Folded, seed: int) -> np.ndarray:
    """Return a 64-bit hash of every row's bytes, shape (rows,), uint64."""

    keys = np.empty(len(folded), np.uint64)
    over_rows(lambda a, b: _hash_rows(folded.data, folded.at, a, b, np.uint64(seed), keys), folded.at)
    return keys


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
    hashes, grams = room_for(at, first, last)
    for row in range(first, last):
        count = hashed_grams(data, at[row], at[row + 1], words, hashes, grams)
        _least(grams, count, factors, offsets, signed[row])


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
    hashes, grams = room_for(at, first, last)
    least = np.empty(len(factors), np.uint32)
    for row in range(first, last):
        count = hashed_grams(data, at[row], at[row + 1], words, hashes, grams)
        sets.counts[row] = count
        mark(grams[:count], sets.marks[row])
        _least(grams, count, factors, offsets, least)
        _hash_bands(least, band, keys[row])


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
    for row in range(first, last):
        keys[row] = mixed(hashed(data, at[row], at[row + 1] - at[row], mixed(seed)))
