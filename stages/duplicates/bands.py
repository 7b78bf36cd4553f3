"""Band keys in order, in which rows of equal keys stand side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stages.duplicates.rows import fresh, on_all_cores

ONE = np.uint64(1)


class Bands(NamedTuple):
    """Band keys in order, band by band; rows of equal keys are in order, too."""

    keys: np.ndarray
    """Shape (bands, rows), uint64."""
    rows: np.ndarray
    """Whose keys they are, shape (bands, rows), int32."""


def sorted_bands(keys: np.ndarray) -> Bands:
    """Return the band keys of some rows, shape (bands, rows), in order; they are sorted where they lie."""
    rows = fresh(keys.shape, np.int32, filled=True)
    on_all_cores(lambda band: _sort_band(keys[band], rows[band]), range(len(keys)))
    return Bands(keys, rows)


def in_order(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return hashes in order, shape (rows,), uint64, and whose they are; those of equal hashes stay in order, too."""
    ordered, rows = keys.copy(), np.empty(len(keys), np.int32)
    _sort_band(ordered, rows)
    return ordered, rows


def with_company(bands: Bands) -> np.ndarray:
    """Return the rows that share a band with another."""
    company = np.zeros(bands.rows.shape[1], np.bool_)
    _mark_company(bands, company)
    return np.flatnonzero(company)


def meeting_places(bands: Bands, known: Bands) -> np.ndarray:
    """Return for every row and band which places of known bands hold its key: first and last, the last not included.

    Shape (rows, bands, 2), int32; the two are equal where none does.
    """
    places = fresh((bands.rows.shape[1], len(bands.rows), 2), np.int32, filled=True)
    _find_places(bands, known, places)
    return places


@njit(cache=True, nogil=True)
def _find_places(bands: Bands, known: Bands, places: np.ndarray) -> None:
    """Fill in `meeting_places`."""
    for band in range(len(bands.keys)):
        ordered, first, last = known.keys[band], 0, 0
        for k in range(bands.keys.shape[1]):
            key, row = bands.keys[band, k], bands.rows[band, k]
            if k == 0 or key != bands.keys[band, k - 1]:
                first = last = _first_at(ordered, key, last)
                while last < len(ordered) and ordered[last] == key:
                    last += 1
            places[row, band, 0], places[row, band, 1] = first, last


@njit(cache=True, nogil=True)
def _first_at(ordered: np.ndarray, key: np.uint64, low: int) -> int:
    """Return the first place from `low` on of no lesser key, by steps that double and then halve."""
    high, step = low, 1
    while high < len(ordered) and ordered[high] < key:
        low = high + 1
        high += step
        step *= 2
    high = min(high, len(ordered))
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _sort_band(keys: np.ndarray, rows: np.ndarray) -> None:
    """Bring the keys of a band in order, and write whose they are into `rows`.

    The keys are hashes, so evenly spread: their leading bits all but sort them, and insertion does the rest.
    """
    bits = 0
    while 1 << bits < len(keys):
        bits += 1
    shift = np.uint64(63 - bits)
    before = keys.copy()
    starts = np.zeros((1 << bits) + 1, np.int32)
    for key in before:
        starts[np.int64(key >> shift >> ONE) + 1] += 1
    for k in range(1 << bits):
        starts[k + 1] += starts[k]
    for row in range(len(before)):
        bucket = np.int64(before[row] >> shift >> ONE)
        keys[starts[bucket]] = before[row]
        rows[starts[bucket]] = row
        starts[bucket] += 1
    for k in range(1, len(keys)):
        key, row, place = keys[k], rows[k], k
        while place > 0 and keys[place - 1] > key:
            keys[place], rows[place] = keys[place - 1], rows[place - 1]
            place -= 1
        keys[place], rows[place] = key, row


@njit(cache=True, nogil=True)
def _mark_company(bands: Bands, company: np.ndarray) -> None:
    for band in range(len(bands.keys)):
        for k in range(1, bands.keys.shape[1]):
            if bands.keys[band, k] == bands.keys[band, k - 1]:
                company[bands.rows[band, k]] = company[bands.rows[band, k - 1]] = True
