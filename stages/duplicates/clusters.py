"""Clusters of near-duplicates: candidates from equal bands, each confirmed by exact Jaccard, joined by union-find.

The clusters are the connected components of the graph of all confirmed candidate pairs. They depend neither on the
order of the rows nor on how they were split into batches: leaving out a pair that is connected already changes none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stages.duplicates.bands import Bands, sorted_bands, with_company
from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.grams import Bench, GramSets, bench_for, gram_sets, make_set, set_of
from stages.duplicates.minhash import band_keys
from stages.duplicates.rows import Folded, fresh
from stages.duplicates.similarity import common, may_be_similar


class Sketch(NamedTuple):
    """Rows made ready to be linked."""

    folded: Folded
    keys: np.ndarray
    """Band keys, shape (rows, bands), uint64."""
    bands: Bands
    sets: GramSets
    """Marks and counts of all rows; the n-grams of those that were compared."""


class Known(NamedTuple):
    """Rows sketched before, numbered from `base` on."""

    base: int
    folded: Folded
    sets: GramSets
    """Their n-grams, or some of them; what is missing is made where it is needed."""
    bands: Bands


def sketch(folded: Folded, params: SketchParams) -> Sketch:
    """Return rows with their band keys, sorted band by band; no n-grams are held yet."""
    keys, sets = band_keys(folded, params)
    return Sketch(folded, keys, sorted_bands(keys), sets)


def link_within(
    some: Sketch, base: int, parents: np.ndarray, words: int, threshold: float
) -> tuple[Sketch, np.ndarray]:
    """Join the rows of one sketch, numbered from `base` on; return the pairs that joined clusters, shape (pairs, 2).

    The sketch holds no n-grams; the one that is returned, those of all rows that were compared. `parents` is the
    union-find forest of all rows, and is changed.
    """
    room = some.sets.counts[with_company(some.bands)].sum(dtype=np.int64)
    some = some._replace(sets=some.sets._replace(grams=fresh((room,), np.uint64)))
    edges = np.empty((max(len(some.folded) - 1, 0), 2), np.int64)
    links, heads = np.empty(len(some.folded), np.int32), np.empty(len(some.folded), np.int32)
    bench = bench_for(int(np.diff(some.folded.at).max(initial=0)))
    count = 0
    for band in range(some.keys.shape[1]):
        count = _link_band(some, band, base, words, bench, threshold, parents, links, heads, edges, count)
    return some._replace(sets=some.sets._replace(grams=some.sets.grams[: bench.used[0]])), edges[:count]


def link_known(some: Sketch, base: int, known: Known, parents: np.ndarray, words: int, threshold: float) -> np.ndarray:
    """Join the rows of a sketch with rows sketched before; return the pairs that joined clusters, shape (pairs, 2)."""
    places = np.empty_like(some.bands.rows)
    for found, rows, keys, known_keys in zip(places, some.bands.rows, some.bands.keys, known.bands.keys, strict=True):
        found[rows] = np.searchsorted(known_keys, keys)
    old, new = np.zeros(len(known.folded), np.bool_), np.zeros(len(some.folded), np.bool_)
    _mark_met(some.keys, places, known.bands, some.sets, known.sets, threshold, new, old)
    more = gram_sets(some.folded, some.sets.missing(np.flatnonzero(new)), words)
    known_more = gram_sets(known.folded, known.sets.missing(np.flatnonzero(old)), words)
    edges = np.empty((len(some.folded) + len(known.folded), 2), np.int64)
    met = np.zeros(len(known.folded), np.int32)
    count = _link_known(
        some.keys,
        places,
        known.bands,
        base,
        known.base,
        some.sets,
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
def _similar(a: np.ndarray, b: np.ndarray, threshold: float) -> bool:
    """Return whether the Jaccard similarity of two sorted sets reaches the threshold."""
    size = len(a) + len(b)
    enough = threshold / (1 + threshold) * size - 1e-6
    if min(len(a), len(b)) < enough:
        return False
    shared = common(a, b, int(enough))
    return size == 0 or shared / (size - shared) >= threshold


@njit(cache=True, nogil=True)
def _link_band(
    some: Sketch,
    band: int,
    base: int,
    words: int,
    bench: Bench,
    threshold: float,
    parents: np.ndarray,
    links: np.ndarray,
    heads: np.ndarray,
    edges: np.ndarray,
    count: int,
) -> int:
    """Join the similar rows among those of equal keys in one band; return the number of edges so far.

    Rows of one key are kept in groups, each of one cluster, as lists of places through `heads` and `links`: a row needs
    to be compared with members of a group only until one is similar, and with none of its own cluster.
    """
    ordered, rows, keys = some.bands.keys[band], some.bands.rows[band], some.keys
    counts, marks = some.sets.counts, some.sets.marks
    groups = 0
    for p in range(len(rows)):
        row = rows[p]
        if p == 0 or ordered[p] != ordered[p - 1]:
            groups = 0
            if p + 1 == len(rows) or ordered[p] != ordered[p + 1]:
                continue
        own = -1
        for g in range(groups):
            place = heads[g]
            joined = _root(parents, base + row) == _root(parents, base + rows[place])
            while not joined and place >= 0:
                other = rows[place]
                if (
                    may_be_similar(counts, marks, row, counts, marks, other, threshold)
                    and not _met_before(keys, row, other, band)
                    and _confirmed(some, row, other, words, bench, threshold)
                ):
                    count = _join(parents, base + row, base + other, edges, count)
                    joined = True
                place = links[place]
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
def _confirmed(some: Sketch, a: int, b: int, words: int, bench: Bench, threshold: float) -> bool:
    """Return whether two rows are similar; their sets are made if they are not there yet."""
    for row in (a, b):
        if not some.sets.sizes[row]:
            make_set(some.folded.data, some.folded.at, row, words, bench, some.sets)
    return _similar(set_of(a, some.sets), set_of(b, some.sets), threshold)


@njit(cache=True, nogil=True)
def _met_before(keys: np.ndarray, a: int, b: int, band: int) -> bool:
    """Return whether two rows share an earlier band, where they were compared."""
    met = False
    for earlier in range(band):
        met |= keys[a, earlier] == keys[b, earlier]
    return met


@njit(cache=True, nogil=True)
def _mark_met(
    keys: np.ndarray,
    places: np.ndarray,
    known: Bands,
    sets: GramSets,
    known_sets: GramSets,
    threshold: float,
    new: np.ndarray,
    old: np.ndarray,
) -> None:
    """Mark the rows, new and old, that share a band and may be similar."""
    counts, marks, known_counts, known_marks = sets.counts, sets.marks, known_sets.counts, known_sets.marks
    for row in range(len(keys)):
        for band in range(keys.shape[1]):
            place = places[band, row]
            while place < known.keys.shape[1] and known.keys[band, place] == keys[row, band]:
                other = known.rows[band, place]
                if may_be_similar(counts, marks, row, known_counts, known_marks, other, threshold):
                    old[other] = True
                    new[row] = True
                place += 1


@njit(cache=True, nogil=True)
def _link_known(
    keys: np.ndarray,
    places: np.ndarray,
    known: Bands,
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
    counts, marks, known_counts, known_marks = sets.counts, sets.marks, known_sets.counts, known_sets.marks
    count = 0
    for row in range(len(keys)):
        mine = sets if sets.sizes[row] else more
        for band in range(keys.shape[1]):
            place = places[band, row]
            while place < known.keys.shape[1] and known.keys[band, place] == keys[row, band]:
                other = known.rows[band, place]
                place += 1
                if met[other] == row + 1:
                    continue
                met[other] = row + 1
                if _root(parents, base + row) == _root(parents, known_base + other) or not may_be_similar(
                    counts, marks, row, known_counts, known_marks, other, threshold
                ):
                    continue
                theirs = known_sets if known_sets.sizes[other] else known_more
                if _similar(set_of(row, mine), set_of(other, theirs), threshold):
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
