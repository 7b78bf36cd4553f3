"""The ledger of a canary: a row for each answer that counts, durable, so that a watch can be taken up again.

It holds no text and no user: a unit is a hash that means something under one canary's salt alone.
"""

from __future__ import annotations

import threading
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from thumbwheel.sqlite import connect

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    canary TEXT NOT NULL,
    phase TEXT NOT NULL,
    unit TEXT NOT NULL,
    arm TEXT NOT NULL,
    message_id TEXT NOT NULL,
    failed INTEGER NOT NULL,
    guarded INTEGER NOT NULL,
    first_seconds REAL,
    at REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS entries_by_canary ON entries (canary, phase);
"""
Phase = Literal["live", "replay"]


@dataclass(frozen=True)
class Entry:
    """One answer. `unit` is who is counted: a user under the canary's salt, or a prompt asked of both arms.

    `failed` says that the engine broke, `guarded` that the guardrails ended what the arm said; `first_seconds` is the
    time to the first piece, None where none came; `at` is seconds since the epoch.
    """

    canary: str
    phase: Phase
    unit: str
    arm: str
    message_id: str
    failed: bool
    guarded: bool
    first_seconds: float | None
    at: float


NAMES = tuple(field.name for field in fields(Entry))


class Ledger:
    """Entries in one SQLite file, in the order in which they came; safe to share between threads and processes."""

    def __init__(self, path: Path) -> None:
        self._asked = path.with_suffix(".asked")
        self._lock = threading.Lock()
        self._db = connect(path, SCHEMA)
        self._db.execute("PRAGMA synchronous=NORMAL")

    def add(self, entry: Entry) -> None:
        """Keep an entry, durable against the death of this process when the call returns."""
        marks = ", ".join("?" * len(NAMES))
        with self._lock:
            self._db.execute(f"INSERT INTO entries ({', '.join(NAMES)}) VALUES ({marks})", astuple(entry))

    def entries(self, canary: str, phase: Phase) -> list[Entry]:
        """Return the entries of a canary, oldest first."""
        query = f"SELECT {', '.join(NAMES)} FROM entries WHERE canary = ? AND phase = ? ORDER BY place"
        with self._lock:
            rows = self._db.execute(query, (canary, phase)).fetchall()
        return [_entry(row) for row in rows]

    def forget_others(self, canary: str) -> None:
        """Erase what was noted of other canaries."""
        with self._lock:
            self._db.execute("DELETE FROM entries WHERE canary != ?", (canary,))

    def note_asked(self) -> None:
        """Note that a user asks something now, whether a canary runs or not."""
        self._asked.touch()

    def idle_seconds(self) -> float | None:
        """Return how long no user has asked anything, None where none ever has."""
        return max(0.0, time.time() - self._asked.stat().st_mtime) if self._asked.exists() else None

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _entry(row: tuple[object, ...]) -> Entry:
    values = dict(zip(NAMES, row, strict=True))
    return Entry(**{**values, "failed": bool(values["failed"]), "guarded": bool(values["guarded"])})  # type: ignore[arg-type]
