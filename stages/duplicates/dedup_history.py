"""All documents seen so far with what linking needs of them, so that a batch is compared with history, not redone.

A history is a list of segments, one a batch, that never change: folded text, the n-grams of what was ever compared,
band keys in sorted order, and the pairs that joined clusters. On disk, a segment is a file that is moved into its place
whole, and `head.json`, replaced last, says which segments count: killed at any point, the next run finds the history of
before. It is a cache: with it and without it the clusters are the same, and it may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.duplicates.array_file import read_arrays, write_arrays
from stages.duplicates.bands import Bands, in_order
from stages.duplicates.clusters import Joins, Known, Sketch, forest, link_known, link_within, roots, sketch
from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.documents import bytes_of
from stages.duplicates.grams import GramSets, Lot, known_lot
from stages.duplicates.measured import NOTHING_MEASURED, Measured, pair_keys
from stages.duplicates.minhash import row_keys
from stages.duplicates.rows import Folded, equal_rows, only_rows
from stages.duplicates.similarity import similarities
from thumbwheel.lake import write_json

log = logging.getLogger(__name__)

FORMAT = "6 affine32"
"""Version of what the files hold, and the scheme of the permutations."""
MOST_SEGMENTS = 64
"""A history of more is begun anew: a batch looks into every segment."""
Segment = Mapping[str, np.ndarray]
"""The arrays of one batch by name; see `_segment`."""


class History:
    """Documents numbered in the order in which they came; equal rows are one document."""

    def __init__(
        self,
        params: SketchParams,
        threshold: float,
        segments: Sequence[Segment] = (),
        measured: Measured = NOTHING_MEASURED,
    ) -> None:
        self.params, self.threshold = params, threshold
        self.segments = list(segments)
        self.measured = measured
        self.lots: dict[int, Lot] = {}

    @property
    def size(self) -> int:
        """How many documents there are."""
        return sum(len(segment["text_at"]) - 1 for segment in self.segments)

    def forget(self) -> None:
        """Begin anew."""
        self.segments.clear()
        self.lots.clear()
        self.measured = NOTHING_MEASURED

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Return the document of each row id, shape (rows, 2) as `id_keys` makes them, -1 where it was never added."""
        found = np.full(len(ids), -1, np.int64)
        for segment in self.segments:
            places = np.searchsorted(segment["id_keys"], ids[:, 0]).clip(max=len(segment["id_keys"]) - 1)
            same = (segment["id_keys"][places] == ids[:, 0]) & (segment["id_checks"][places] == ids[:, 1])
            found[same] = segment["id_rows"][places[same]]
        return found

    def add(self, ids: np.ndarray, folded: Folded) -> np.ndarray:
        """Add a batch of rows and return the document of each; the cost is that of the batch, not of the history.

        `folded` is used up.
        """
        if not len(ids):
            return np.empty(0, np.int64)
        keys = row_keys(folded, self.params.seed)
        ordered, order = in_order(keys)
        documents = self._find_equal(folded, ordered, order)
        fresh, documents = _number(folded, ordered, order, documents, self.size)
        base, parents = self.size, forest(self.size + len(fresh), self.edges())
        some, edges = self.link(only_rows(folded, fresh), base, parents)
        joins = []
        for k, (known_base, segment) in enumerate(self._numbered()):
            known = Known(known_base, self._lot(k), Bands(segment["band_keys"], segment["band_rows"]))
            joins.append(link_known(some, base, known, parents, self.params.words, self.threshold))
        self._remember(joins)
        edges = np.concatenate([edges, *(one.pairs for one in joins)])
        self.segments.append(_segment(some, keys[fresh], ids, documents, edges))
        return documents

    def link(self, folded: Folded, base: int, parents: np.ndarray) -> tuple[Sketch, np.ndarray]:
        """Sketch the documents of a batch, numbered from `base` on, and return the pairs that join their clusters.

        The sketch holds the n-grams of rows that were compared, as far as this process has them. `parents` is the
        union-find forest of all documents, and may be changed.
        """
        some = sketch(folded, self.params)
        joins = link_within(some, base, parents, self.params.words, self.threshold)
        self._remember([joins])
        return some, joins.pairs

    def edges(self) -> np.ndarray:
        """Return the pairs of documents that join all clusters, shape (pairs, 2)."""
        return np.concatenate([np.empty((0, 2), np.int64), *(segment["edges"] for segment in self.segments)])

    def clusters(self) -> np.ndarray:
        """Return the cluster of every document, named by its first."""
        return roots(forest(self.size, self.edges()))

    def similarities(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the Jaccard similarity of documents `left[i]` and `right[i]`, float64; each pair is measured once."""
        pairs = pair_keys(left, right)
        new = self.measured.lack(pairs)
        self.measured = self.measured.extended(new, self._measure(new >> 32, new & 0xFFFFFFFF))
        return self.measured.of(pairs)

    def _remember(self, joins: Sequence[Joins]) -> None:
        """Keep the similarities of pairs, no two of them alike, that were found while new documents were linked."""
        pairs = np.concatenate([np.empty((0, 2), np.int64), *(some.pairs for some in joins)])
        values = np.concatenate([np.empty(0), *(some.similarities for some in joins)])
        self.measured = self.measured.extended(pair_keys(pairs[:, 0], pairs[:, 1]), values)

    def _measure(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the similarities of pairs of documents, from the segments that hold them."""
        bases = np.array([base for base, _ in self._numbered()], np.int64)
        mine, theirs = (np.searchsorted(bases, documents, "right") - 1 for documents in (left, right))
        found = np.empty(len(left))
        for a, b in set(zip(mine.tolist(), theirs.tolist(), strict=True)):
            some = (mine == a) & (theirs == b)
            places = left[some] - bases[a], right[some] - bases[b]
            found[some] = similarities(self._lot(a), places[0], self._lot(b), places[1], self.params.words)
        return found

    def _lot(self, k: int) -> Lot:
        """Return the documents of a segment; the n-grams that are made of them stay while the history is open."""
        if k not in self.lots:
            folded, sets = _folded(self.segments[k]), GramSets(*(self.segments[k][name] for name in SETS))
            self.lots[k] = known_lot(folded, sets)
        return self.lots[k]

    def _numbered(self) -> Iterator[tuple[int, Segment]]:
        """Yield each segment with the number of its first document."""
        base = 0
        for segment in self.segments:
            yield base, segment
            base += len(segment["text_at"]) - 1

    def _find_equal(self, folded: Folded, ordered: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Return the document that equals each row, byte for byte, -1 where there is none.

        `ordered` are the rows' keys, `order` whose they are: keys in order are found sooner than others.
        """
        found = np.full(len(order), -1, np.int64)
        for base, segment in self._numbered():
            if not len(segment["text_keys"]):
                continue
            places = np.searchsorted(segment["text_keys"], ordered).clip(max=len(segment["text_keys"]) - 1)
            same_key = segment["text_keys"][places] == ordered
            rows, documents = order[same_key], segment["text_rows"][places[same_key]]
            same = equal_rows(folded, rows, _folded(segment), documents)
            found[rows[same]] = base + documents[same]
        return found


def id_keys(ids: pa.ChunkedArray, seed: int) -> np.ndarray:
    """Return 128 bits that stand for each id, shape (ids, 2), uint64."""
    folded = bytes_of(ids)
    return np.stack((row_keys(folded, seed), row_keys(folded, seed + 1)), axis=1)


@contextmanager
def kept_history(
    folder: Path, params: SketchParams, threshold: float, kind: Callable[..., History] = History
) -> Iterator[History]:
    """Open the history in a folder, alone; what is added to it is kept when the body ends well.

    `kind` makes the history: how new documents are linked does not change what is kept of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        names, segments, measured = _load(folder, params, threshold)
        history = kind(params, threshold, segments, measured)
        yield history
        if any(a is not b for a, b in zip(segments, history.segments, strict=False)):
            names = []
        names += [_save(folder, segment) for segment in history.segments[len(names) :]]
        last = _save(folder, history.measured._asdict())
        write_json(folder / "head.json", {**_stamp(params, threshold), "segments": names, "measured": last})
        _sweep(folder, {*names, last, "lock", "head.json"})


def _load(folder: Path, params: SketchParams, threshold: float) -> tuple[list[str], list[Segment], Measured]:
    """Return the names of the segments that count, the segments, and what was measured; nothing if made otherwise."""
    try:
        head = json.loads((folder / "head.json").read_text())
        names, measured = head.pop("segments"), head.pop("measured")
        if head == _stamp(params, threshold) and len(names) < MOST_SEGMENTS:
            segments: list[Segment] = [read_arrays(folder / name) for name in names]
            return names, segments, Measured(**read_arrays(folder / measured))
        log.info("the history in %s was made with other parameters, or has grown long: it is begun anew", folder)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError) as error:
        log.warning("the history in %s is damaged (%s): it is begun anew", folder, error)
    return [], [], NOTHING_MEASURED


def _stamp(params: SketchParams, threshold: float) -> dict[str, Any]:
    return {"format": FORMAT, "threshold": threshold, **params.model_dump()}


def _save(folder: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays to a file of their own, and return its name; it is moved into its place whole."""
    with tempfile.NamedTemporaryFile(prefix="part-", dir=folder, delete=False) as file:
        write_arrays(file, arrays)
    part = Path(file.name)
    return part.rename(part.with_name(part.name.removeprefix("part-"))).name


def _sweep(folder: Path, names: Collection[str]) -> None:
    """Remove what a killed run, or a history begun anew, left behind; earlier formats had folders."""
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name not in names:
            left.unlink()


SETS = ("grams", "gram_begins", "gram_sizes", "gram_counts", "gram_marks")
NAMES = (
    *("text", "text_at", "text_keys", "text_rows"),
    *SETS,
    *("band_keys", "band_rows"),
    *("id_keys", "id_checks", "id_rows"),
    "edges",
)
"""Folded text, where its rows begin, their hashes in order and whose they are; n-grams, see `GramSets`; band keys in
order and whose they are; row ids, in two halves and in the order of the first, and their documents; pairs of documents
that joined clusters."""


def _segment(some: Sketch, keys: np.ndarray, ids: np.ndarray, documents: np.ndarray, edges: np.ndarray) -> Segment:
    made = some.lot.made
    by_id = in_order(ids[:, 0])[1]
    arrays = (
        *some.lot.folded,
        *in_order(keys),
        *made._replace(grams=made.grams[: some.lot.bench.used[0]]),
        *some.bands,
        ids[by_id, 0],
        ids[by_id, 1],
        documents[by_id],
        edges,
    )
    return dict(zip(NAMES, arrays, strict=True))


def _folded(segment: Segment) -> Folded:
    return Folded(segment["text"], segment["text_at"])


def _number(
    folded: Folded, ordered: np.ndarray, order: np.ndarray, documents: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give the rows that equal no document a number from `size` on, equal rows the same; see `History._find_equal`.

    Returns the first row of each new document, and the document of every row.
    """
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    first = np.empty(len(order), np.int64)
    first[order] = np.repeat(order[starts], np.diff(np.append(starts, len(order))))
    rows = np.arange(len(order))
    twins = np.flatnonzero(first != rows)
    others = twins[~equal_rows(folded, twins, folded, first[twins])]
    first[others] = others
    fresh = np.flatnonzero((documents < 0) & (first == rows))
    documents = documents.copy()
    documents[fresh] = size + np.arange(len(fresh))
    return fresh, np.where(documents < 0, documents[first], documents)
