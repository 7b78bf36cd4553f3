"""The outbox: feedback events, durable in SQLite before the user is thanked, and relayed to Kafka where there is one.

Delivery is at least once: consumers drop repeats by event id.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thumbwheel.errors import SourceError
from thumbwheel.events import validated
from thumbwheel.sqlite import connect, empty_log

BUSY_SECONDS = 30
BATCH = 500
SENT, SET_ASIDE = 1, 2
"""What `sent` says of an event that has been tried; 0 of one that waits."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    offset INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS unsent ON events (offset) WHERE sent = 0;
CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL, one INTEGER PRIMARY KEY CHECK (one = 1));
"""


class Outbox:
    """Feedback events in the order in which they came; any number of processes and threads may share one file.

    Raises:
        SourceError: the file cannot be opened, read or written (every method).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._guarded():
            self._db = connect(path, SCHEMA, wait_s=BUSY_SECONDS)
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("INSERT OR IGNORE INTO identity VALUES (?, 1)", (uuid.uuid4().hex,))

    @property
    def identity(self) -> str:
        """A name drawn when the file was made, so that an offset is never applied to another file."""
        return str(self._query("SELECT id FROM identity")[0][0])

    def append(self, event: Mapping[str, Any]) -> None:
        """Keep an event; it is on disk when this returns. An event id that is already there is ignored.

        Raises:
            FeedbackError: the event does not fit; the message names the field.
        """
        row = validated(event)
        body = json.dumps(row, ensure_ascii=False)
        self._query("INSERT OR IGNORE INTO events (event_id, body) VALUES (?, ?)", (row["event_id"], body))

    def read(self, after: int = 0, limit: int = BATCH) -> list[tuple[int, dict[str, Any]]]:
        """Return up to `limit` events that came after offset `after`, oldest first; the first offset is 1."""
        rows = self._query("SELECT offset, body FROM events WHERE offset > ? ORDER BY offset LIMIT ?", (after, limit))
        return [(int(offset), json.loads(body)) for offset, body in rows]

    def unsent(self, limit: int = BATCH) -> list[tuple[int, str, str]]:
        """Return offset, event id and body of the oldest events that wait for a broker."""
        rows = self._query("SELECT offset, event_id, body FROM events WHERE sent = 0 ORDER BY offset LIMIT ?", (limit,))
        return [(int(offset), str(event_id), str(body)) for offset, event_id, body in rows]

    def mark_sent(self, offsets: Sequence[int]) -> None:
        """Record that a broker has confirmed these events."""
        self._mark(offsets, SENT)

    def set_aside(self, offsets: Sequence[int]) -> None:
        """Record that no broker will ever take these events."""
        self._mark(offsets, SET_ASIDE)

    def _mark(self, offsets: Sequence[int], state: int) -> None:
        if offsets:
            marks = ",".join("?" * len(offsets))
            self._query(f"UPDATE events SET sent = ? WHERE offset IN ({marks})", (state, *offsets))

    def erase(self, event_ids: Sequence[str]) -> int:
        """Delete events, out of the file and its write-ahead log; return how many there were."""
        with self._guarded(), self._lock:
            self._db.execute("PRAGMA secure_delete=ON")
            gone = sum(self._db.execute("DELETE FROM events WHERE event_id = ?", (e,)).rowcount for e in event_ids)
            self._db.execute("VACUUM")
            empty_log(self._db)
        return gone

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _query(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._guarded(), self._lock:
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SourceError(
                f"the outbox {self.path} cannot be used ({error}); free the disk or set THUMBWHEEL_OUTBOX."
            ) from error
