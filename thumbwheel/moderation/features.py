"""A text as the buckets of its hashed character and word n-grams, window by window."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

import numpy as np

from thumbwheel.moderation.normalise import fold

BUCKETS = 1 << 16
GRAMS = (4, 5)
"""Lengths in bytes of the character n-grams."""
WINDOW = 600
"""Characters judged at once: a long harmless text around a harmful wish must not thin it out."""
STRIDE = 400
MAX_CHARACTERS = 60_000
PRIME = np.uint64(0x9E3779B97F4A7C15)
SHIFT = np.uint64(64 - 16)

Buckets = np.ndarray
"""Sorted distinct buckets of a window, int64."""


def windows(text: str) -> Iterator[str]:
    """Yield the folded text in overlapping windows; one for a text that fits."""
    folded = fold(text[:MAX_CHARACTERS])
    for start in range(0, max(1, len(folded) - WINDOW + STRIDE), STRIDE):
        yield folded[start : start + WINDOW]


def buckets(folded: str) -> Buckets:
    """Return the buckets of one window."""
    data = np.frombuffer(f" {folded} ".encode(), dtype=np.uint8)
    grams = [_grams(data, n) for n in GRAMS if len(data) >= n]
    return np.unique(np.concatenate([*grams, _words(folded)]))


def _grams(data: np.ndarray, n: int) -> Buckets:
    """Hash every run of `n` bytes: its number in base 257, mixed by Fibonacci hashing (Knuth, volume 3, 6.4)."""
    wide = data.astype(np.uint64) + np.uint64(1)
    value = np.zeros(len(data) - n + 1, dtype=np.uint64)
    for i in range(n):
        value = value * np.uint64(257) + wide[i : len(data) - n + 1 + i]
    return ((value * PRIME) >> SHIFT).astype(np.int64)


def _words(folded: str) -> Buckets:
    words = ["".join(c for c in word if c.isalnum()) for word in folded.split()]
    words = [word for word in words if word]
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(words)]
    return np.array([zlib.crc32(each.encode()) % BUCKETS for each in (*words, *pairs)], dtype=np.int64)
