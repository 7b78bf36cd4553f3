"""Hashes of bytes by kernels: of words as `stages.duplicates.words` defines them, and of whole rows."""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.duplicates.eights import hash_eight, mix_lines
from stages.duplicates.words import MIX, SPREAD
from stages.vectors.lines import eight_bytes
from stages.vectors.llvm import EIGHT, LINE

NOTHING = np.uint64(0)
SPREAD_64, MIX_64 = np.uint64(SPREAD), np.uint64(MIX)
SHIFT_29, SHIFT_32, SHIFT_33 = np.uint64(29), np.uint64(32), np.uint64(33)
FIRST = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
"""What keeps the first bytes of eight, by how many."""


@njit(cache=True, nogil=True)
def hashed(data: np.ndarray, i: int, length: int, seed: np.uint64) -> np.uint64:
    """Return the hash of `data[i:i + length]`; with the seed 0 that of a word."""
    value = seed + np.uint64(length)
    while True:
        value = (value ^ _first_of_eight(data, i, length)) * MIX_64
        value ^= value >> SHIFT_32
        value = (value ^ _first_of_eight(data, i + 8, length - 8)) * MIX_64
        value ^= value >> SHIFT_32
        i += 16
        length -= 16
        if length <= 0:
            return value


@njit(cache=True, nogil=True)
def hash_words(data: np.ndarray, bounds: np.ndarray, count: int, hashes: np.ndarray) -> None:
    """Write the hashes of `count` words, see `hash_eight`, into `hashes`; both have room for `EIGHT` more."""
    bounds[count + 1 : count + 1 + EIGHT] = bounds[count]
    k = 0
    while k < count and bounds[min(k + EIGHT, count)] + 2 * EIGHT < len(data):
        if hash_eight(data, bounds, k, hashes):
            for word in range(k, min(k + EIGHT, count)):
                hashes[word] = hashed(data, bounds[word] + 1, bounds[word + 1] - bounds[word] - 1, NOTHING)
        k += EIGHT
    for word in range(k, count):
        hashes[word] = hashed(data, bounds[word] + 1, bounds[word + 1] - bounds[word] - 1, NOTHING)


@njit(cache=True, nogil=True)
def _first_of_eight(data: np.ndarray, i: int, size: int) -> np.uint64:
    """Return the first `size` of the bytes `data[i:i + 8]`, if so many, and zeros behind them."""
    if i + 8 <= len(data):
        return eight_bytes(data, i) & FIRST[min(max(size, 0), 8)]
    block = np.uint64(0)
    for k in range(min(size, 8)):
        block |= np.uint64(data[i + k]) << np.uint64(8 * k)
    return block


@njit(cache=True, nogil=True)
def hashed_row(data: np.ndarray, i: int, length: int, seed: np.uint64, lanes: np.ndarray) -> np.uint64:
    """Return the hash of `data[i:i + length]`, whole lines of it eight times eight bytes at a time; `lanes` is (8,)."""
    whole = length // LINE
    value = hashed(data, i + whole * LINE, length - whole * LINE, seed + np.uint64(length))
    if whole:
        lanes[:] = seed
        mix_lines(data, i, whole, lanes)
        for lane in lanes:
            value = (value ^ lane) * MIX_64
            value ^= value >> SHIFT_32
    return mixed(value + np.uint64(length))  # else some short rows have the hash of one a byte longer


@njit(cache=True, nogil=True)
def mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> SHIFT_33)) * MIX_64
    return value ^ (value >> SHIFT_29)
