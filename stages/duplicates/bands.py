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
    """Return the band keys of some rows, shape (rows, bands), in order."""
    found = Bands(fresh(keys.T.shape, np.uint64), fresh(keys.T.shape, np.int32))

    def sort(band: int) -> None:
        _sort_band(keys, band, found.keys[band], found.rows[band])

    on_all_cores(sort, range(keys.shape[1]))
    return found


def with_company(bands: Bands) -> np.ndarray:
    """Return the rows that share a band with another."""
    company = np.zeros(bands.rows.shape[1], np.bool_)
    _mark_company(bands, company)
    return np.flatnonzero(company)


@njit(cache=True, nogil=True)
def _sort_band(keys: np.ndarray, band: int, ordered: np.ndarray, rows: np.ndarray) -> None:
    """Write the keys of a band in order into `ordered`, and whose they are into `rows`.

    The keys are hashes, so evenly spread: their leading bits all but sort them, and insertion does the rest.
    """
    bits = 0
    while 1 << bits < len(keys):
        bits += 1
    shift = np.uint64(63 - bits)
    starts = np.zeros((1 << bits) + 1, np.int32)
    for row in range(len(keys)):
        starts[np.int64(keys[row, band] >> shift >> ONE) + 1] += 1
    for k in range(1 << bits):
        starts[k + 1] += starts[k]
    for row in range(len(keys)):
        bucket = np.int64(keys[row, band] >> shift >> ONE)
        ordered[starts[bucket]] = keys[row, band]
        rows[starts[bucket]] = row
        starts[bucket] += 1
    for k in range(1, len(keys)):
        key, row, place = ordered[k], rows[k], k
        while place > 0 and ordered[place - 1] > key:
            ordered[place], rows[place] = ordered[place - 1], rows[place - 1]
            place -= 1
        ordered[place], rows[place] = key, row


@njit(cache=True, nogil=True)
def _mark_company(bands: Bands, company: np.ndarray) -> None:
    for band in range(len(bands.keys)):
        for k in range(1, bands.keys.shape[1]):
            if bands.keys[band, k] == bands.keys[band, k - 1]:
                company[bands.rows[band, k]] = company[bands.rows[band, k - 1]] = True
