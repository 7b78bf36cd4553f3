"""The truth that deduplicators are measured against: every pair of documents at exact Jaccard 0.8 or over.

    python -m benchmarks.dedup_truth FILE

Words are `\\w+` of the lower-cased text and n-grams are of five, as the peers make them; nothing of ours is used. All
pairs are found by prefix filtering (Bayardo, Ma and Srikant 2007): two sets that similar share one of their rarest few.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from benchmarks.dedup_peers.contract import WORD, rows

THRESHOLD = 0.8
WORDS = 5


class Truth(NamedTuple):
    """Similar pairs by row number."""

    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray


def truth_of(path: Path) -> Truth:
    """Return the similar pairs of a JSONL file, worked out once."""
    stored = path.with_suffix(".truth.npz")
    if not stored.exists():
        part = stored.with_suffix(".part.npz")
        np.savez_compressed(part, **similar_pairs(text for _, text in rows(str(path)))._asdict())
        part.rename(stored)
    with np.load(stored) as arrays:
        return Truth(**arrays)


def similar_pairs(texts: Iterable[str]) -> Truth:
    """Return every pair of texts whose word 5-grams reach the threshold."""
    grams, at = _grams(texts)
    unique, place, count = np.unique(grams, return_inverse=True, return_counts=True)
    rank = np.empty(len(unique), np.int64)
    rank[np.argsort(count, kind="stable")] = np.arange(len(unique))
    ranked = rank[place].astype(np.int32)
    for row in range(len(at) - 1):
        ranked[at[row] : at[row + 1]].sort()
    order = np.argsort(np.diff(at), kind="stable")
    found = _join(ranked, at, order, THRESHOLD, len(unique))
    return Truth(*(np.array(column) for column in found))


def _grams(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashed n-gram sets of texts, one after the other, and where each begins."""
    grams, at = array.array("q"), [0]
    for text in texts:
        words = WORD.findall(text.lower())
        grams.extend({hash(tuple(words[i : i + WORDS])) for i in range(max(1, len(words) - WORDS + 1))})
        at.append(len(grams))
    return np.frombuffer(grams, np.int64), np.array(at)


@njit
def _join(
    ranked: np.ndarray, at: np.ndarray, order: np.ndarray, threshold: float, ranks: int
) -> tuple[list[int], list[int], list[float]]:
    """Compare each set with the smaller ones that share a member of its prefix; members are ranked from the rarest."""
    heads = np.full(ranks, -1, np.int32)
    links, owners = np.empty(len(ranked), np.int32), np.empty(len(ranked), np.int32)
    met = np.full(len(at) - 1, -1, np.int32)
    entries = 0
    left, right, similarity = [0], [0], [0.0]
    for row in order:
        mine = ranked[at[row] : at[row + 1]]
        prefix = len(mine) - int(np.ceil(threshold * len(mine) - 1e-9)) + 1
        for k in range(prefix):
            entry = heads[mine[k]]
            while entry >= 0:
                other = owners[entry]
                entry = links[entry]
                theirs = ranked[at[other] : at[other + 1]]
                if met[other] == row or len(theirs) < threshold * len(mine) - 1e-9:
                    continue
                met[other] = row
                shared = _shared(mine, theirs)
                jaccard = shared / (len(mine) + len(theirs) - shared)
                if jaccard >= threshold:
                    left.append(min(row, other))
                    right.append(max(row, other))
                    similarity.append(jaccard)
        for k in range(prefix):
            owners[entries], links[entries], heads[mine[k]] = row, heads[mine[k]], entries
            entries += 1
    return left[1:], right[1:], similarity[1:]


@njit
def _shared(a: np.ndarray, b: np.ndarray) -> int:
    i, j, shared = 0, 0, 0
    while i < len(a) and j < len(b):
        x, y = a[i], b[j]
        shared += x == y
        i += x <= y
        j += y <= x
    return shared


class Score(NamedTuple):
    """How good a list of kept rows is."""

    recall: float
    """Share of the similar pairs of which not both stayed."""
    precision: float
    """Share of the dropped rows that are similar to some other row."""


def score(truth: Truth, kept: np.ndarray) -> Score:
    """Return how well `kept`, a truth value a row, agrees with the truth; clusters may be formed in any way."""
    broken = ~(kept[truth.left] & kept[truth.right])
    similar = np.zeros(len(kept), bool)
    similar[truth.left] = similar[truth.right] = True
    return Score(float(broken.mean()), float(similar[~kept].mean()))


def kept_rows(path: Path, kept: Path) -> np.ndarray:
    """Return for each row of a file whether its id is among the kept."""
    ids = set(kept.read_text().splitlines())
    return np.array([key in ids for key, _ in rows(str(path))])


def main() -> None:
    """Find the pairs of one file."""
    path = Path(sys.argv[1])
    print(f"{len(truth_of(path).left)} pairs at {THRESHOLD} or over")


if __name__ == "__main__":
    main()
