"""Rows of bytes, one after another in one array, and how to work on ranges of them on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from mmap import MAP_ANONYMOUS, MAP_POPULATE, MAP_PRIVATE, mmap
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit

from stages.vectors.lines import eight_bytes, move_bytes

S = TypeVar("S")
T = TypeVar("T")
CHUNK = 4 << 20
"""Bytes of text that one thread takes at a time."""


class Folded(NamedTuple):
    """Folded rows: row `d` is `data[at[d]:at[d + 1]]`."""

    data: np.ndarray
    at: np.ndarray

    def __len__(self) -> int:
        return len(self.at) - 1

    def row(self, index: int) -> bytes:
        return self.data[self.at[index] : self.at[index + 1]].tobytes()


NO_ROWS = Folded(np.empty(0, np.uint8), np.zeros(1, np.int64))


def fresh(shape: tuple[int, ...], kind: Any, *, filled: bool) -> np.ndarray:
    """Return zeros in memory that costs nothing until it is written to, or all at once if it will be `filled`.

    numpy asks for huge pages, and clears all of one when its first byte is written; where a virtual machine's memory is
    in pieces, making them took a quarter of all time. To ask for small ones together costs a third less than singly.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    flags = MAP_PRIVATE | MAP_ANONYMOUS | (MAP_POPULATE if filled else 0)
    return np.frombuffer(mmap(-1, max(size, 1), flags), np.uint8)[:size].view(kind).reshape(shape)


def over_rows(work: Callable[[int, int], T], sizes: np.ndarray) -> list[T]:
    """Call `work(first, last)` for ranges of rows of about `CHUNK` bytes, on all cores; return the results in order.

    `sizes` are running sums of the rows' bytes, one more than there are rows.
    """
    return on_all_cores(lambda some: work(*some), row_ranges(sizes))


def on_all_cores(work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Return `work(item)` of every item, in order; one item needs no threads."""
    items = list(items)
    if len(items) == 1:
        return [work(items[0])]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(work, items))


def row_ranges(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and last row, the last not included, of ranges of about `CHUNK` bytes; at least one range."""
    cuts = np.searchsorted(sizes, np.arange(sizes[0], sizes[-1], CHUNK))
    return list(pairwise([0, *np.unique(np.append(cuts[cuts > 0], len(sizes) - 1)).tolist()]))


def joined(some: Sequence[Folded]) -> Folded:
    """Return folded rows one after the other."""
    return Folded(np.concatenate([np.empty(0, np.uint8), *(f.data for f in some)]), running(some))


def joined_rows(folded: Folded, rows: np.ndarray) -> Folded:
    """Return the rows whose numbers are in `rows`, in that order."""
    at = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(folded.at[rows + 1] - folded.at[rows], out=at[1:])
    some = Folded(fresh((at[-1],), np.uint8, filled=True), at)
    _copy_rows(folded.data, folded.at, rows, *some)
    return some


def only_rows(folded: Folded, rows: np.ndarray) -> Folded:
    """Return the rows whose numbers are in `rows`, which ascend, moved to the front: `folded` is no more of use."""
    if len(rows) == len(folded):
        return folded
    at = np.concatenate((np.zeros(1, np.int64), np.cumsum(folded.at[rows + 1] - folded.at[rows])))
    _copy_rows(folded.data, folded.at, rows, folded.data, at)
    return Folded(folded.data[: at[-1]], at)


def equal_rows(a: Folded, left: np.ndarray, b: Folded, right: np.ndarray) -> np.ndarray:
    """Return whether row `left[i]` of `a` equals row `right[i]` of `b`, byte for byte."""
    same = np.zeros(len(left), np.bool_)
    _equal_rows(*a, left, *b, right, same)
    return same


def running(some: Sequence[Folded]) -> np.ndarray:
    """Return where the rows begin when one follows another, and where the last one ends."""
    return np.cumsum(np.concatenate([np.zeros(1, np.int64), *(np.diff(folded.at) for folded in some)]))


@njit(cache=True, nogil=True)
def _copy_rows(source: np.ndarray, source_at: np.ndarray, rows: np.ndarray, out: np.ndarray, at: np.ndarray) -> None:
    for k in range(len(rows)):
        begin = source_at[rows[k]]
        move_bytes(source, begin, out, at[k], at[k + 1] - at[k])


@njit(cache=True, nogil=True)
def _equal_rows(
    data: np.ndarray,
    at: np.ndarray,
    left: np.ndarray,
    other: np.ndarray,
    other_at: np.ndarray,
    right: np.ndarray,
    same: np.ndarray,
) -> None:
    for k in range(len(left)):
        i, j = at[left[k]], other_at[right[k]]
        length = at[left[k] + 1] - i
        n = 0
        if length == other_at[right[k] + 1] - j:
            while n + 8 <= length and eight_bytes(data, i + n) == eight_bytes(other, j + n):
                n += 8
            while n < length and data[i + n] == other[j + n]:
                n += 1
            same[k] = n == length
