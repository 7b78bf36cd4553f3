"""The linking of `dedup` on a Ray cluster: signatures are mapped, bands shuffled, and the clusters joined.

A shard's rows are sketched where the shard lies, and leave it as one column of keys a band. The task of a band sorts
its keys, fetches the text of those rows only that share a key, and returns the pairs that join its clusters. Joining
the pairs of all bands gives the clusters of one process: a component of a union of graphs is the same whether its
parts were first replaced by spanning trees. Where the cluster is, Ray's own `RAY_ADDRESS` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from stages.duplicates.bands import sorted_bands, with_company
from stages.duplicates.clusters import Sketch, forest, link_within, made_ready, roots
from stages.duplicates.dedup_history import History
from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.grams import marked_rows
from stages.duplicates.minhash import band_keys
from stages.duplicates.rows import Folded, joined, joined_rows

SHARDS = 16
"""Shards that a process's own rows are cut into."""


class RayHistory(History):
    """A history whose batches are sketched and linked on Ray."""

    def link(self, folded: Folded, base: int, parents: np.ndarray) -> tuple[Sketch, np.ndarray]:
        """Sketch and link a batch; see `History.link`. The n-grams stay where they were made."""
        shards = [joined_rows(folded, rows) for rows in np.array_split(np.arange(len(folded)), SHARDS)]
        keys, edges = link_on_ray(shards, self.params, self.threshold)
        return made_ready(folded, keys, marked_rows(folded, self.params.words)), edges + base


def link_on_ray(shards: Sequence[Folded], params: SketchParams, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the band keys of the rows of all shards, shape (bands, rows), and the pairs that join their clusters."""
    import ray

    ray.init(ignore_reinit_error=True)
    sketch, link, _ = _tasks()
    texts = [ray.put(tuple(shard)) for shard in shards]
    columns = [sketch.options(num_returns=params.bands).remote(text, params) for text in texts]
    sizes = [len(shard) for shard in shards]
    found = [
        link.remote(texts, sizes, params.words, threshold, *(bands[band] for bands in columns))
        for band in range(params.bands)
    ]
    keys = np.concatenate([np.stack(ray.get(list(bands))) for bands in columns], axis=1)
    edges = np.concatenate(ray.get(found))
    return keys, _spanning(sum(sizes), edges)


def clusters_on_ray(shards: Sequence[Folded], params: SketchParams, threshold: float) -> np.ndarray:
    """Return the cluster of every row of the shards, named by its first row."""
    edges = link_on_ray(shards, params, threshold)[1]
    return roots(forest(sum(map(len, shards)), edges))


@cache
def _tasks() -> tuple[Any, Any, Any]:
    import ray

    return ray.remote(_sketch_shard), ray.remote(_link_band), ray.remote(_pick)


def _sketch_shard(text: tuple[np.ndarray, np.ndarray], params: SketchParams) -> list[np.ndarray]:
    """Return one column of keys a band."""
    return list(band_keys(Folded(*text), params)[0])


def _link_band(
    texts: Sequence[Any], sizes: Sequence[int], words: int, threshold: float, *columns: np.ndarray
) -> np.ndarray:
    """Return the pairs that join the clusters of one band."""
    keys = np.concatenate(columns)[np.newaxis]
    rows = with_company(sorted_bands(keys.copy()))
    some = joined(list(_fetched(texts, sizes, rows)))
    picked = made_ready(some, keys.take(rows, axis=1), marked_rows(some, words))
    return rows[link_within(picked, 0, forest(len(rows), np.empty((0, 2), np.int64)), words, threshold).pairs]


def _fetched(texts: Sequence[Any], sizes: Sequence[int], rows: np.ndarray) -> Iterator[Folded]:
    """Yield the wanted rows shard by shard; what travels is their text alone."""
    import ray

    starts = np.cumsum([0, *sizes])
    pick = _tasks()[2]
    cuts = np.searchsorted(rows, starts)
    wanted = [rows[cuts[s] : cuts[s + 1]] - starts[s] for s in range(len(sizes))]
    yield from (Folded(*text) for text in ray.get([pick.remote(t, w) for t, w in zip(texts, wanted, strict=True)]))


def _pick(text: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (some := joined_rows(Folded(*text), rows)).data, some.at


def _spanning(size: int, edges: np.ndarray) -> np.ndarray:
    """Return a pair for every row that is not the first of its cluster."""
    clusters = roots(forest(size, edges))
    rows = np.flatnonzero(clusters != np.arange(size))
    return np.stack((rows, clusters[rows]), axis=1)
