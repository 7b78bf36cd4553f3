"""Group conversations by what they are about, name the groups, and say how the sides of a split cover them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import Field

from stages.sides.items import Corpus
from thumbwheel.params import Params

if TYPE_CHECKING:
    import numpy as np

SIDES = ("train", "validation", "test")
TOPIC = pa.schema(
    [
        ("cluster", pa.int64()),
        ("terms", pa.string()),
        ("rows", pa.int64()),
        *((side, pa.int64()) for side in SIDES),
        ("lacks", pa.string()),
    ]
)
"""How many conversations of a topic stand on each side; `lacks` names the sides without any, where there should be."""
PLACE = pa.schema(
    [("id", pa.string()), ("split", pa.string()), ("cluster", pa.int64()), ("x", pa.float64()), ("y", pa.float64())]
)
"""Where a conversation lies on the map of topics: its vector's first two principal components."""
LETTERS = range(3, 31)
"""A word of fewer or more names no topic, unless there is no other."""
SHRINKING = 1
"""Rows without any word that are added to each topic, so that one row alone is no pattern."""


class TopicParams(Params):
    clusters: int = Field(ge=1)
    topic_fit_rows: int = Field(ge=1)
    """k-means is fitted to so many rows, drawn by the seed; the others go to the nearest centre."""
    topic_terms: int = Field(ge=1)
    """How many words name a topic."""
    topic_least_rows: int = Field(ge=1)
    """A topic of so many rows must stand on every side, or the run says that it does not."""


@dataclass(frozen=True)
class Topics:
    """The topic of each row, and the words that name each topic."""

    labels: np.ndarray
    terms: list[str]


def find_topics(vectors: np.ndarray, corpus: Corpus, params: TopicParams, seed: int) -> Topics:
    """Return the topics of the corpus' first items, of which these are the unit vectors, shape (items, width).

    A topic is a report and decides no side: centres move from week to week, and a row must not.
    """
    import numpy as np
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(seed)
    sample = np.sort(rng.permutation(len(vectors))[: params.topic_fit_rows])
    count = min(params.clusters, len(np.unique(vectors[sample], axis=0)))
    centres = KMeans(count, random_state=seed, n_init=4).fit(vectors[sample]).cluster_centers_
    distances = (centres**2).sum(axis=1) - 2 * vectors @ centres.T
    labels = distances.argmin(axis=1)
    return Topics(labels, name_topics(labels, count, corpus, params.topic_terms))


def name_topics(labels: np.ndarray, count: int, corpus: Corpus, terms: int) -> list[str]:
    """Return the words that tell each topic from all others: no word names two, unless a topic has none of its own.

    A word's weight is the share of a topic's rows whose users say it, less the share in the topic where it comes next,
    so that what a template puts into every row of several topics names none of them. Where no word is long enough, as
    in scripts whose words are single letters here, letters name it.
    """
    import numpy as np
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    names = ["", *corpus.lexicon.numbers]
    naming = np.array([len(n) in LETTERS and n.isalpha() and n not in ENGLISH_STOP_WORDS for n in names])
    letters = np.array([len(n) == 1 and n.isalpha() and not n.isascii() for n in names])
    shares = _shares(labels, count, corpus, len(names))
    ahead = _ahead(shares)
    weights = ahead * naming
    for some, which in ((ahead, letters), (shares, naming), (shares, letters)):
        unnamed = weights.max(axis=1, initial=0) <= 0
        weights[unnamed] = some[unnamed] * which
    best = np.argsort(-weights, axis=1, kind="stable")[:, :terms]
    return [", ".join(names[i] for i in row if weight[i] > 0) for row, weight in zip(best, weights, strict=True)]


def _shares(labels: np.ndarray, count: int, corpus: Corpus, words: int) -> np.ndarray:
    """Return the share of a topic's rows whose users say a word, shape (topics, words); that of few rows is less."""
    import numpy as np

    row_of = np.repeat(np.where(corpus.asked, corpus.rows, len(labels)), corpus.words.sizes())
    mine = row_of < len(labels)
    rows, said = np.divmod(np.unique(row_of[mine] * words + corpus.words.numbers[mine]), words)
    holding = np.bincount(labels[rows] * words + said, minlength=count * words).reshape(count, words)
    return np.asarray(holding / (np.bincount(labels, minlength=count)[:, None] + SHRINKING))


def _ahead(shares: np.ndarray) -> np.ndarray:
    """Return by how much each topic leads with a word before the one that comes next; nought for all others."""
    import numpy as np

    if len(shares) == 1:
        return shares
    second, first = np.partition(shares, -2, axis=0)[-2:]
    return np.where(shares == first, first - second, 0.0)


def coverage(topics: Topics, sides: Sequence[str], dropped: Container[int], least_rows: int) -> list[dict[str, object]]:
    """Return the rows of `TOPIC`: how the sides cover each topic without what was dropped, the largest first."""
    found: list[dict[str, object]] = []
    labels = [None if i in dropped else label for i, label in enumerate(topics.labels.tolist())]
    for cluster, terms in enumerate(topics.terms):
        mine = [sides[i] for i, label in enumerate(labels) if label == cluster]
        counts = {side: mine.count(side) for side in SIDES}
        lacks = [side for side in SIDES if not counts[side]] if len(mine) >= least_rows else []
        found.append({"cluster": cluster, "terms": terms, "rows": len(mine), **counts, "lacks": ", ".join(lacks)})
    return sorted(found, key=lambda topic: (-int(str(topic["rows"])), str(topic["terms"])))


def project(vectors: np.ndarray) -> np.ndarray:
    """Return the first two principal components, shape (rows, 2); the largest weight of each is positive."""
    import numpy as np

    centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    largest = np.abs(axes).argmax(axis=0)
    return np.asarray(centred @ (axes * np.sign(axes[largest, [0, 1]])))
