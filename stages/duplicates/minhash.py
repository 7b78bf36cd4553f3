"""MinHash signatures of folded rows and their bands, in which near-duplicates meet.

Signatures are those of datasketch's `MinHash(scheme="affine32")` (Broder 1997; the affine permutations of datasketch
2.0) over the low half of each hashed n-gram. Bands: Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, chapter 3.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.folding import Folded, over_rows
from stages.duplicates.grams import PRIME_64, SHIFT_29, SPREAD_64, hashed_grams, mixed, power_of

BLOCK = 256
"""Rows whose signatures are held at a time: few enough to stay in the cache."""
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


def row_keys(folded: Folded, seed: int) -> np.ndarray:
    """Return a 64-bit hash of every row's bytes, shape (rows,), uint64."""

    def some(first: int, last: int) -> np.ndarray:
        keys = np.empty(last - first, np.uint64)
        _hash_rows(folded.data, folded.at, first, np.uint64(seed), keys)
        return keys

    return np.concatenate(over_rows(some, folded.at))


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
    words: int,
    factors: np.ndarray,
    offsets: np.ndarray,
    signed: np.ndarray,
) -> None:
    """Write the signatures of the rows from `first` on into `signed`."""
    window = np.zeros(words, np.uint64)
    power = power_of(words)
    grams = np.empty(1024, np.uint64)
    for row in range(first, first + len(signed)):
        if len(grams) < at[row + 1] - at[row] + LANES:
            grams = np.empty(2 * (at[row + 1] - at[row]) + LANES, np.uint64)
        count = hashed_grams(data, at[row], at[row + 1], window, power, grams)
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
        key = mixed(seed + np.uint64(at[row + 1] - at[row]))
        i = at[row]
        while i + 8 <= at[row + 1]:
            block = np.uint64(0)
            for k in range(8):
                block |= np.uint64(data[i + k]) << np.uint64(8 * k)
            key = mixed((key ^ block) * SPREAD_64)
            i += 8
        for k in range(i, at[row + 1]):
            key = (key ^ np.uint64(data[k])) * PRIME_64 + SPREAD_64
        keys[row - first] = mixed(key)
