"""Clusters of near-duplicates: candidates from equal bands, each confirmed by exact Jaccard, joined by union-find.

The clusters are the connected components of the graph of all confirmed candidate pairs. They depend neither on the
order of the rows nor on how they were split into batches: leaving out a pair that is connected already changes none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stages.duplicates.bands import Bands, meeting_places, sorted_bands
from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.grams import GramSets, Lot, new_lot, set_in
from stages.duplicates.minhash import band_keys
from stages.duplicates.rows import Folded
from stages.duplicates.similarity import may_be_similar, similarity

REMEMBERED = 1 << 16
"""Places for pairs that were compared and found apart, so that hardly any is compared again in another band."""


class Sketch(NamedTuple):
    """Rows made ready to be linked."""

    lot: Lot
    bands: Bands


class Known(NamedTuple):
    """Rows sketched before, numbered from `base` on."""

    base: int
    lot: Lot
    bands: Bands


class Joins(NamedTuple):
    """Pairs of rows that joined clusters, shape (pairs, 2), and their Jaccard similarities."""

    pairs: np.ndarray
    similarities: np.ndarray

    def first(self, count: int) -> Joins:
        """Return the first of these."""
        return Joins(self.pairs[:count], self.similarities[:count])


def room_for_joins(count: int) -> Joins:
    """Return room for so many pairs."""
    return Joins(np.empty((count, 2), np.int64), np.empty(count))


def sketch(folded: Folded, params: SketchParams) -> Sketch:
    """Return rows with their band keys, sorted band by band."""
    return made_ready(folded, *band_keys(folded, params))


def made_ready(folded: Folded, keys: np.ndarray, marked: GramSets) -> Sketch:
    """Return rows of known band keys, which are used up, and marks."""
    return Sketch(new_lot(folded, marked), sorted_bands(keys))


def link_within(some: Sketch, base: int, parents: np.ndarray, words: int, threshold: float) -> Joins:
    """Join the rows of one sketch, numbered from `base` on; return the pairs that joined clusters.

    `parents` is the union-find forest of all rows, and is changed.
    """
    rows = len(some.lot.folded)
    joins = room_for_joins(max(rows - 1, 0))
    links, heads = np.empty((2, rows), np.int32)
    refused = np.zeros(REMEMBERED, np.int64)
    count = 0
    for band in range(len(some.bands.keys)):
        count = _link_band(some, band, base, words, threshold, parents, links, heads, refused, joins, count)
    return joins.first(count)


def link_known(some: Sketch, base: int, known: Known, parents: np.ndarray, words: int, threshold: float) -> Joins:
    """Join the rows of a sketch with rows sketched before; return the pairs that joined clusters.

    Rows that meet the same old rows follow one another, so that what is known of those is at hand.
    """
    places = meeting_places(some.bands, known.bands)
    order = np.argsort(_first_met(places, known.bands.rows), kind="stable")
    joins = room_for_joins(len(some.lot.folded) + len(known.lot.folded))
    met = np.zeros(len(known.lot.folded), np.int32)
    return joins.first(_link_known(some, order, places, known, base, words, threshold, parents, met, joins))


def forest(size: int, edges: np.ndarray) -> np.ndarray:
    """Return the union-find forest of `size` rows joined by `edges`, shape (pairs, 2)."""
    parents = np.arange(size)
    _join_all(parents, edges)
    return parents


def roots(parents: np.ndarray) -> np.ndarray:
    """Return the number that names the cluster of each row: the least row of it."""
    found = np.empty(len(parents), np.int64)
    _find_roots(parents, found)
    return found


@njit(cache=True, nogil=True)
def _root(parents: np.ndarray, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True, nogil=True)
def _join(parents: np.ndarray, a: int, b: int, similar: float, joins: Joins, count: int) -> int:
    """Join the clusters of `a` and `b`, which are two; the least row stays the root."""
    i, j = _root(parents, a), _root(parents, b)
    parents[max(i, j)] = min(i, j)
    joins.pairs[count, 0], joins.pairs[count, 1], joins.similarities[count] = a, b, similar
    return count + 1


@njit(cache=True, nogil=True)
def _link_band(
    some: Sketch,
    band: int,
    base: int,
    words: int,
    threshold: float,
    parents: np.ndarray,
    links: np.ndarray,
    heads: np.ndarray,
    refused: np.ndarray,
    joins: Joins,
    count: int,
) -> int:
    """Join the similar rows among those of equal keys in one band; return the number of joins so far.

    Rows of one key are kept in groups, each of one cluster, as lists of places through `heads` and `links`: a row needs
    to be compared with members of a group only until one is similar, and with none of its own cluster.
    """
    ordered, rows = some.bands.keys[band], some.bands.rows[band]
    lot = some.lot
    groups = 0
    for p in range(len(rows)):
        row = rows[p]
        if p == 0 or ordered[p] != ordered[p - 1]:
            groups = 0
            if p + 1 == len(rows) or ordered[p] != ordered[p + 1]:
                continue
        own = -1
        cluster = _root(parents, base + row)
        for g in range(groups):
            place = heads[g]
            joined = cluster == _root(parents, base + rows[place])
            while not joined and place >= 0:
                other = rows[place]
                place = links[place]
                pair = np.int64(row) << 32 | other
                slot = (np.int64(row) * 31 + other) & (REMEMBERED - 1)
                if refused[slot] != pair and may_be_similar(lot.held, row, lot.held, other, threshold):
                    similar = similarity(set_in(row, lot, words), set_in(other, lot, words), threshold)
                    if similar > 0:
                        count = _join(parents, base + row, base + other, similar, joins, count)
                        cluster, joined = _root(parents, base + row), True
                    else:
                        refused[slot] = pair
            if joined and own < 0:
                own = g
        if own < 0:
            own = groups
            groups += 1
            heads[own] = -1
        links[p] = heads[own]
        heads[own] = p
    return count


@njit(cache=True, nogil=True)
def _first_met(places: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the least old row that each row meets, by `meeting_places` and the rows of known bands; shape (rows,)."""
    rows, bands, _ = places.shape
    found = np.full(rows, known.shape[1], np.int32)
    for row in range(rows):
        for band in range(bands):
            first, last = places[row, band]
            if first < last:
                found[row] = min(found[row], known[band, first])
    return found


@njit(cache=True, nogil=True)
def _link_known(
    some: Sketch,
    order: np.ndarray,
    places: np.ndarray,
    known: Known,
    base: int,
    words: int,
    threshold: float,
    parents: np.ndarray,
    met: np.ndarray,
    joins: Joins,
) -> int:
    """Join similar rows, new ones in an order and old ones, that share a band; return how many pairs did.

    `places` is from `meeting_places`; `met` is zero, and has room for every old row.
    """
    mine, theirs = some.lot, known.lot
    count = 0
    for row in order:
        cluster = _root(parents, base + row)
        for band in range(len(some.bands.rows)):
            for place in range(places[row, band, 0], places[row, band, 1]):
                other = known.bands.rows[band, place]
                if met[other] == row + 1:
                    continue
                met[other] = row + 1
                if cluster == _root(parents, known.base + other):
                    continue
                if not may_be_similar(mine.held, row, theirs.held, other, threshold):
                    continue
                similar = similarity(set_in(row, mine, words), set_in(other, theirs, words), threshold)
                if similar > 0:
                    count = _join(parents, base + row, known.base + other, similar, joins, count)
                    cluster = _root(parents, base + row)
    return count


@njit(cache=True, nogil=True)
def _join_all(parents: np.ndarray, edges: np.ndarray) -> None:
    for k in range(len(edges)):
        i, j = _root(parents, edges[k, 0]), _root(parents, edges[k, 1])
        parents[max(i, j)] = min(i, j)


@njit(cache=True, nogil=True)
def _find_roots(parents: np.ndarray, found: np.ndarray) -> None:
    for row in range(len(parents)):
        found[row] = _root(parents, row)
