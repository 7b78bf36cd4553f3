"""The linking of `dedup` over an index on Redis that several writers share: datasketch's `MinHashLSH`.

A document is known by the hash of its folded text. A writer stores the text, then the keys, and only then looks for
candidates: of two writers at the same moment at least one sees the other. Every confirmed pair is stored, so that the
clusters among any documents can be read off, whoever added them; a writer that was killed adds its batch again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.duplicates.clusters import Sketch, sketch
from stages.duplicates.dedup_history import FORMAT, History
from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.grams import marked_rows, new_lot
from stages.duplicates.minhash import signatures
from stages.duplicates.rows import Folded, joined
from stages.duplicates.similarity import similarities
from thumbwheel.errors import SettingsError

PREFIX = "thumbwheel:dedup"
BATCH = 1000


class SharedIndex:
    """Documents that several writers add to, with the pairs of them that are similar."""

    def __init__(self, url: str, params: SketchParams, threshold: float) -> None:
        """Open the index that belongs to these parameters; others have their own."""
        from datasketch import MinHashLSH
        from redis import Redis
        from redis.connection import parse_url

        stamp = json.dumps({"format": FORMAT, "threshold": threshold, **params.model_dump()}, sort_keys=True)
        self.params, self.threshold = params, threshold
        self.name = f"{PREFIX}:{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
        self.redis: Any = Redis.from_url(url)
        self.redis.set(f"{self.name}:params", stamp)
        self.index = MinHashLSH(
            num_perm=params.permutations,
            params=(params.bands, params.rows),
            storage_config={"type": "redis", "basename": self.name.encode(), "redis": parse_url(url)},
            prepickle=False,
        )

    def add(self, folded: Folded) -> list[bytes]:
        """Add rows and return the name of each; the pairs they make with all rows there are stored."""
        names = [digest(folded.row(row)) for row in range(len(folded))]
        for start in range(0, len(names), BATCH):
            self._add(folded, names, range(start, min(start + BATCH, len(names))))
        return names

    def pairs(self, names: Sequence[bytes]) -> np.ndarray:
        """Return the places in `names` of the similar pairs among them, shape (pairs, 2)."""
        place = {name: i for i, name in enumerate(names)}
        found = []
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]
            asked = self.redis.pipeline(transaction=False)
            for name in some:
                asked.smembers(self._key("pairs", name))
            for name, others in zip(some, asked.execute(), strict=True):
                found += [(place[name], place[other]) for other in others if other in place]
        return np.array(found, np.int64).reshape(-1, 2)

    def _add(self, folded: Folded, names: Sequence[bytes], rows: range) -> None:
        sketches = self._sketches(folded, rows)
        stored = self.redis.pipeline(transaction=False)
        for row in rows:
            stored.set(self._key("text", names[row]), folded.row(row))
        stored.execute()
        with self.index.insertion_session() as session:
            for row, one in zip(rows, sketches, strict=True):
                session.insert(names[row], one, check_duplication=False)
        for row, one in zip(rows, sketches, strict=True):
            others = sorted(set(self.index.query(one)) - {names[row]})
            near = np.flatnonzero(self._near(folded.row(row), others))
            self._store(names[row], [others[i] for i in near])

    def _sketches(self, folded: Folded, rows: range) -> list[Any]:
        from datasketch import LeanMinHash

        at = folded.at[rows.start : rows.stop + 1]
        signed = signatures(Folded(folded.data[at[0] : at[-1]], at - at[0]), self.params)
        return [LeanMinHash(seed=self.params.seed, hashvalues=row, scheme="affine32") for row in signed]

    def _near(self, row: bytes, others: Sequence[bytes]) -> np.ndarray:
        """Return which of other documents reach the threshold."""
        texts = self.redis.mget([self._key("text", other) for other in others]) if others else []
        every = joined([Folded(np.frombuffer(t, np.uint8), np.array([0, len(t)])) for t in (row, *texts)])
        lot, words = new_lot(every, marked_rows(every, self.params.words)), self.params.words
        left, right = np.zeros(len(texts), np.int64), 1 + np.arange(len(texts))
        return similarities(lot, left, lot, right, words) >= self.threshold

    def _store(self, name: bytes, others: Sequence[bytes]) -> None:
        stored = self.redis.pipeline(transaction=False)
        for other in others:
            stored.sadd(self._key("pairs", name), other)
            stored.sadd(self._key("pairs", other), name)
        stored.execute()

    def _key(self, kind: str, name: bytes) -> bytes:
        return f"{self.name}:{kind}:".encode() + name


class RedisHistory(History):
    """A history whose candidates come from an index that other writers add to as well.

    Pairs with documents of others are left out: what this table's verdicts are depends on this table alone.
    """

    def __init__(self, shared: SharedIndex, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.shared = shared

    def link(self, folded: Folded, base: int, parents: np.ndarray) -> tuple[Sketch, np.ndarray]:
        """Sketch and link a batch; see `History.link`. Which rows were compared, the index alone knows."""
        names = self.shared.add(folded)
        return sketch(folded, self.params), self.shared.pairs(names) + base


def open_shared(url: str | None, params: SketchParams, threshold: float) -> SharedIndex:
    """Open the shared index.

    Raises:
        SettingsError: no Redis is named, or none answers.
    """
    from redis import RedisError

    if url is None:
        raise SettingsError("dedup.index is 'redis', but THUMBWHEEL_REDIS_URL is not set; set it, or use 'process'.")
    try:
        return SharedIndex(url, params, threshold)
    except RedisError as error:
        raise SettingsError(f"THUMBWHEEL_REDIS_URL = {url!r}: no Redis answers there ({error}).") from None


def digest(row: bytes) -> bytes:
    """Return the name of a document: the hash of its folded text, in hex."""
    return hashlib.blake2b(row, digest_size=16).hexdigest().encode()
