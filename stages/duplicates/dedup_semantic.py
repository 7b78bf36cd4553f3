"""The optional pass of `dedup` over sentence embeddings: rows that say the same in other words.

Two rows mean the same where each part of the one (its questions, its answers) is as near to that of the other as the
threshold asks, by cosine. All pairs are compared, a block at a time, so it is meant for what the other passes leave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from stages.duplicates.folding import Documents, row_parts
from stages.duplicates.words import Parts

BLOCK = 1024
WINDOW = 80
"""Words embedded at a time, which the model can read at once; a longer text is the mean of its windows."""

Embed = Callable[[Sequence[str]], Mapping[str, np.ndarray]]
"""Returns a unit vector for each text."""


class Meanings:
    """Rows as one unit vector a part."""

    def __init__(self, rows: Sequence[Parts], embed: Embed) -> None:
        windows = [[list(_windows(text)) for _, text in parts] for parts in rows]
        vectors = embed([text for parts in windows for texts in parts for text in texts])
        self.vectors = [np.stack([_mean([vectors[text] for text in texts]) for texts in parts]) for parts in windows]
        self.groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for row, parts in enumerate(rows):
            self.groups[tuple(name for name, _ in parts)].append(row)

    def pairs(self, threshold: float) -> np.ndarray:
        """Return the pairs of rows that mean the same, shape (pairs, 2); rows of other parts are never compared."""
        found = [pair for rows in self.groups.values() for pair in self._pairs_of(np.array(rows), threshold)]
        return np.array(found, np.int64).reshape(-1, 2)

    def cosines(self, left: Sequence[int], right: Sequence[int]) -> np.ndarray:
        """Return how near row `left[i]` is to row `right[i]`: the least cosine over their parts."""
        some = zip(left, right, strict=True)
        return np.array([(self.vectors[a] * self.vectors[b]).sum(axis=1).min() for a, b in some], np.float64)

    def _pairs_of(self, rows: np.ndarray, threshold: float) -> Iterator[np.ndarray]:
        vectors = np.stack([self.vectors[row] for row in rows], axis=1)
        for start in range(0, len(rows), BLOCK):
            cosines = (vectors[:, start : start + BLOCK] @ vectors.transpose(0, 2, 1)).min(axis=0)
            left, right = np.nonzero(cosines >= threshold)
            later = right > left + start
            yield from np.stack((rows[left[later] + start], rows[right[later]]), axis=1)


def _windows(text: str) -> Iterator[str]:
    words = text.split()
    for start in range(0, max(1, len(words)), WINDOW):
        yield " ".join(words[start : start + WINDOW])


def _mean(vectors: Sequence[np.ndarray]) -> np.ndarray:
    mean = np.mean(vectors, axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))


def meanings(documents: Documents) -> Meanings:
    """Return what rows say by all-MiniLM-L6-v2, the model by which `split` finds topics.

    Vectors of windows are kept with all else that `dedup` keeps: whose they are nobody could tell, so that they go
    together where a user is forgotten.
    """
    from thumbwheel.embedding import embed
    from thumbwheel.settings import settings

    kept = settings().state_dir / "dedup" / "windows.db"

    def vectors(texts: Sequence[str]) -> Mapping[str, np.ndarray]:
        return dict(zip(texts, embed(texts, "float32", kept).of(texts), strict=True))

    return Meanings([row_parts(documents, row) for row in range(len(documents))], vectors)
