"""Scores that were computed before, by what they depend on: an SQLite file that a weekly run adds new rows to."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from thumbwheel.sqlite import connect

log = logging.getLogger(__name__)

ASKED = 500
"""Keys of one query, within SQLite's limit on variables."""
WAIT_SECONDS = 60
SCHEMA = "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, likelihood REAL, difficulty REAL, tokens INTEGER)"


class Kept(NamedTuple):
    """A score; without `tokens` the row has none."""

    likelihood: float
    difficulty: float
    tokens: int


class ScoreStore:
    """The file; it may be deleted at any time, and a damaged one is."""

    def __init__(self, path: Path) -> None:
        try:
            self._open(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            log.warning("%s is damaged; its scores are computed anew", path)
            path.unlink()
            self._open(path)

    def _open(self, path: Path) -> None:
        self.connection = connect(path, SCHEMA, isolation_level="DEFERRED", wait_s=WAIT_SECONDS)

    def __enter__(self) -> ScoreStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def read(self, keys: Sequence[str]) -> dict[str, Kept]:
        """Return the kept scores of keys; those that are not known are left out."""
        found: dict[str, Kept] = {}
        for some in _groups(keys):
            marks = ",".join("?" * len(some))
            query = f"SELECT key, likelihood, difficulty, tokens FROM scores WHERE key IN ({marks})"
            found |= {key: Kept(*values) for key, *values in self.connection.execute(query, some)}
        return found

    def add(self, scores: Mapping[str, Kept]) -> None:
        """Keep scores; they are on disk when this returns."""
        with self.connection:
            rows = [(key, *score) for key, score in scores.items()]
            self.connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)", rows)


def _groups(keys: Sequence[str]) -> Iterator[list[str]]:
    left = iter(keys)
    while some := list(islice(left, ASKED)):
        yield some
