"""Clusters of near-duplicates: candidates from equal bands, each confirmed by exact Jaccard, joined by union-find.

The clusters are the connected components of the graph of all confirmed candidate pairs. They depend neither on the
order of the rows nor on how they were split into batches: leaving out a pair that is connected already changes none.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.folding import Folded
from stages.duplicates.grams import GramSets, apart, common, gram_sets, set_of
from stages.duplicates.minhash import band_keys


class Sketch(NamedTuple):
    """Rows made ready to be linked."""

    folded: Folded
    keys: np.ndarray
    """Band keys, shape (rows, bands), uint64."""
    orders: np.ndarray
    """For each band the rows sorted by their key, shape (bands, rows), int32."""

    @property
    def sorted_keys(self) -> np.ndarray:
        """The band keys in the order of `orders`, shape (bands, rows)."""
        return np.take_along_axis(self.keys.T, self.orders, axis=1)


class Known(NamedTuple):
    """Rows sketched before, numbered from `base` on."""

    base: int
    folded: Folded
    sets: GramSets
    """Their n-grams, or some of them; what is missing is made where it is needed."""
    sorted_keys: np.ndarray
    orders: np.ndarray


def sketch(folded: Folded, params: SketchParams) -> Sketch:
    """Return rows with their band keys, sorted band by band."""
    keys = band_keys(folded, params)
    return Sketch(folded, keys, sorted_bands(keys))


def sorted_bands(keys: np.ndarray) -> np.ndarray:
    """Return for each band the rows in the order of their keys, shape (bands, rows), int32."""

    def order(band: int) -> np.ndarray:
        return np.argsort(keys[:, band], kind="stable").astype(np.int32)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return np.stack(list(pool.map(order, range(keys.shape[1]))))


def link_within(some: Sketch, sets: GramSets, base: int, parents: np.ndarray, threshold: float) -> np.ndarray:
    """Join the rows of one sketch, numbered from `base` on; return the pairs that joined clusters, shape (pairs, 2).

    `sets` holds the n-grams of the rows `with_company`; `parents` is the union-find forest of all rows, and is changed.
    """
    edges = np.empty((max(len(some.folded) - 1, 0), 2), np.int64)
    links, heads = np.empty(len(some.folded), np.int32), np.empty(len(some.folded), np.int32)
    count = 0
    for band in range(len(some.orders)):
        count = _link_band(
            some.keys, some.orders[band], band, base, sets, threshold, parents, links, heads, edges, count
        )
    return edges[:count]


def link_known(
    some: Sketch, sets: GramSets, base: int, known: Known, parents: np.ndarray, words: int, threshold: float
) -> np.ndarray:
    """Join the rows of a sketch with rows sketched before; return the pairs that joined clusters, shape (pairs, 2).

    `sets` holds n-grams of the new rows, or of some of them.
    """
    places = np.empty_like(some.orders)
    for found, order, keys, sorted_keys in zip(places, some.orders, some.keys.T, known.sorted_keys, strict=True):
        found[order] = np.searchsorted(sorted_keys, keys[order])  # in order, so that the search stays in the cache
    old, new = np.zeros(len(known.folded), np.bool_), np.zeros(len(some.folded), np.bool_)
    _mark_met(some.keys, places, known.sorted_keys, known.orders, new, old)
    more = gram_sets(some.folded, sets.missing(np.flatnonzero(new)), words)
    known_more = gram_sets(known.folded, known.sets.missing(np.flatnonzero(old)), words)
    edges = np.empty((len(some.folded) + len(known.folded), 2), np.int64)
    met = np.zeros(len(known.folded), np.int32)
    count = _link_known(
        some.keys,
        places,
        known.sorted_keys,
        known.orders,
        base,
        known.base,
        sets,
        more,
        known.sets,
        known_more,
        threshold,
        parents,
        met,
        edges,
    )
    return edges[:count]


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


def with_company(keys: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Return the rows that share a band with another."""
    company = np.zeros(len(keys), bool)
    for band, order in enumerate(orders):
        sorted_keys = keys[order, band]
        same = sorted_keys[1:] == sorted_keys[:-1]
        company[order[1:][same]] = True
        company[order[:-1][same]] = True
    return np.flatnonzero(company)


@njit(cache=True, nogil=True)
def _root(parents: np.ndarray, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True, nogil=True)
def _join(parents: np.ndarray, a: int, b: int, edges: np.ndarray, count: int) -> int:
    """Join the clusters of `a` and `b`, which are two; the least row stays the root."""
    i, j = _root(parents, a), _root(parents, b)
    parents[max(i, j)] = min(i, j)
    edges[count, 0], edges[count, 1] = a, b
    return count + 1


@njit(cache=True, nogil=True)
def _similar(a: np.ndarray, b: np.ndarray, marks_a: np.ndarray, marks_b: np.ndarray, threshold: float) -> bool:
    """Return whether the Jaccard similarity of two sorted sets reaches the threshold; marks: see `GramSets`."""
    size = len(a) + len(b)
    enough = threshold / (1 + threshold) * size - 1e-6
    if min(len(a), len(b)) < enough or len(a) - apart(marks_a, marks_b) < enough:
        return False
    shared = common(a, b, int(enough))
    return size == 0 or shared / (size - shared) >= threshold


@njit(cache=True, nogil=True)
def _link_band(
    keys: np.ndarray,
    order: np.ndarray,
    band: int,
    base: int,
    sets: GramSets,
    threshold: float,
    parents: np.ndarray,
    links: np.ndarray,
    heads: np.ndarray,
    edges: np.ndarray,
    count: int,
) -> int:
    """Join the similar rows among those of equal keys in one band; return the number of edges so far.

    Rows of one key are kept in groups, each of one cluster, as lists through `heads` and `links`: a row needs to be
    compared with members of a group only until one is similar, and with none of its own cluster.
    """
    groups = 0
    for p in range(len(order)):
        row = order[p]
        if p == 0 or keys[row, band] != keys[order[p - 1], band]:
            groups = 0
            if p + 1 == len(order) or keys[row, band] != keys[order[p + 1], band]:
                continue
        own = -1
        for g in range(groups):
            other = heads[g]
            joined = _root(parents, base + row) == _root(parents, base + other)
            while not joined and other >= 0:
                if not _met_before(keys, row, other, band) and _similar(
                    set_of(row, sets), set_of(other, sets), sets.marks[row], sets.marks[other], threshold
                ):
                    count = _join(parents, base + row, base + other, edges, count)
                    joined = True
                other = links[other]
            if joined and own < 0:
                own = g
        if own < 0:
            own = groups
            groups += 1
            heads[own] = -1
        links[row] = heads[own]
        heads[own] = row
    return count


@njit(cache=True, nogil=True)
def _met_before(keys: np.ndarray, a: int, b: int, band: int) -> bool:
    """Return whether two rows share an earlier band, where they were compared."""
    met = False
    for earlier in range(band):
        met |= keys[a, earlier] == keys[b, earlier]
    return met


@njit(cache=True, nogil=True)
def _mark_met(
    keys: np.ndarray, places: np.ndarray, known_keys: np.ndarray, orders: np.ndarray, new: np.ndarray, old: np.ndarray
) -> None:
    """Mark the rows, new and old, that share a band."""
    for row in range(len(keys)):
        for band in range(keys.shape[1]):
            place = places[band, row]
            while place < known_keys.shape[1] and known_keys[band, place] == keys[row, band]:
                old[orders[band, place]] = True
                new[row] = True
                place += 1


@njit(cache=True, nogil=True)
def _link_known(
    keys: np.ndarray,
    places: np.ndarray,
    known_keys: np.ndarray,
    orders: np.ndarray,
    base: int,
    known_base: int,
    sets: GramSets,
    more: GramSets,
    known_sets: GramSets,
    known_more: GramSets,
    threshold: float,
    parents: np.ndarray,
    met: np.ndarray,
    edges: np.ndarray,
) -> int:
    """Join similar rows, new and old, that share a band; `met` is zero, and has room for every old row."""
    count = 0
    for row in range(len(keys)):
        mine = sets if sets.sizes[row] else more
        for band in range(keys.shape[1]):
            place = places[band, row]
            while place < known_keys.shape[1] and known_keys[band, place] == keys[row, band]:
                other = orders[band, place]
                place += 1
                if met[other] == row + 1:
                    continue
                met[other] = row + 1
                theirs = known_sets if known_sets.sizes[other] else known_more
                if _root(parents, base + row) != _root(parents, known_base + other) and _similar(
                    set_of(row, mine), set_of(other, theirs), mine.marks[row], theirs.marks[other], threshold
                ):
                    count = _join(parents, base + row, known_base + other, edges, count)
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
