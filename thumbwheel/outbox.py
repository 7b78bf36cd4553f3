"""The outbox: feedback events, durable in SQLite before the user is thanked.

Delivery is at least once, here and from Kafka alike: consumers drop repeats by event id.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from thumbwheel.errors import FeedbackError, SourceError
from thumbwheel.records import FEEDBACK, FEEDBACK_KINDS, ROLES, SPAN_LABELS

RATINGS = ("up", "down")
REQUIRED = ("event_id", "conversation_id", "message_id", "user", "kind", "created_at")
OPTIONAL = ("rating", "reason", "correction", "replaces", "model", "arm", "tools")
NEEDED_BY = {"rating": ("rating", "reason", "spans"), "edit": ("correction",), "regeneration": ("replaces",)}
"""The optional fields of which a kind of event needs at least one."""

BUSY_SECONDS = 30
BATCH = 500

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


def validated(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event with exactly the fields of `records.FEEDBACK`, its texts untouched, empty optional ones null.

    Raises:
        FeedbackError: the event does not fit; the message names the field.
    """
    if unknown := sorted(set(event) - set(FEEDBACK.names)):
        raise FeedbackError(f"'{unknown[0]}' is not a field of a feedback event ({', '.join(FEEDBACK.names)}).")
    row: dict[str, Any] = {name: _required_text(event, name) for name in REQUIRED}
    row |= {name: _optional_text(event, name) for name in OPTIONAL}
    row |= {"prompt": _prompt(event.get("prompt")), "reply": _text("reply", event.get("reply"))}
    row["spans"] = _spans(event.get("spans"), row["reply"])
    if not isinstance(consent := event.get("consent"), bool):
        raise FeedbackError(f"'consent' = {consent!r}: it must be true or false.")
    _refuse_unfit(row)
    return {name: ({**row, "consent": consent})[name] for name in FEEDBACK.names}


class Outbox:
    """Feedback events in the order in which they came; any number of processes and threads may share one file.

    Raises:
        SourceError: the file cannot be opened, read or written (every method).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._guarded():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
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
        """Return offset, event id and body of the oldest events that no broker has confirmed."""
        rows = self._query("SELECT offset, event_id, body FROM events WHERE sent = 0 ORDER BY offset LIMIT ?", (limit,))
        return [(int(offset), str(event_id), str(body)) for offset, event_id, body in rows]

    def mark_sent(self, offsets: Sequence[int]) -> None:
        """Record that a broker has confirmed these events."""
        if offsets:
            marks = ",".join("?" * len(offsets))
            self._query(f"UPDATE events SET sent = 1 WHERE offset IN ({marks})", tuple(offsets))

    def erase(self, event_ids: Sequence[str]) -> int:
        """Delete events, out of the file and its write-ahead log; return how many there were."""
        with self._guarded(), self._lock:
            self._db.execute("PRAGMA secure_delete=ON")
            gone = sum(self._db.execute("DELETE FROM events WHERE event_id = ?", (e,)).rowcount for e in event_ids)
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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


def _refuse_unfit(row: Mapping[str, Any]) -> None:
    if row["kind"] not in FEEDBACK_KINDS:
        raise FeedbackError(f"'kind' = {row['kind']!r}: it must be one of {', '.join(FEEDBACK_KINDS)}.")
    if row["rating"] not in (None, *RATINGS):
        raise FeedbackError(f"'rating' = {row['rating']!r}: it must be one of {', '.join(RATINGS)}, or null.")
    needed = NEEDED_BY.get(row["kind"], ())
    if needed and not any(row[name] for name in needed):
        raise FeedbackError(f"'{needed[0]}' is missing: an event of kind '{row['kind']}' needs it.")
    try:
        aware = datetime.fromisoformat(row["created_at"]).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise FeedbackError(
            f"'created_at' = {row['created_at']!r}: it must be ISO 8601 with a time zone, such as 2026-01-31T09:30:00Z."
        )


def _prompt(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise FeedbackError("'prompt' must be a list of at least one message.")
    for message in value:
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise FeedbackError("'prompt' holds something that is not a message with 'role' and 'content' alone.")
        if message["role"] not in ROLES:
            raise FeedbackError(f"'prompt' has the role {message['role']!r}; known: {', '.join(ROLES)}.")
    return [{"role": m["role"], "content": _text("prompt", m["content"])} for m in value]


def _spans(value: Any, reply: str) -> list[dict[str, Any]] | None:
    if not value:
        return None
    if not isinstance(value, list) or not all(isinstance(span, Mapping) for span in value):
        raise FeedbackError("'spans' must be a list of objects with 'start', 'end' and 'label'.")
    return [_span(span, len(reply)) for span in value]


def _span(span: Mapping[str, Any], length: int) -> dict[str, Any]:
    if set(span) != {"start", "end", "label"} or span["label"] not in SPAN_LABELS:
        raise FeedbackError(
            f"'spans' holds {dict(span)!r}: it needs start, end and a label ({', '.join(SPAN_LABELS)})."
        )
    start, end = span["start"], span["end"]
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        raise FeedbackError(f"'spans' holds {start!r} to {end!r}, which is no part of a reply of {length} characters.")
    return {"start": start, "end": end, "label": span["label"]}


def _required_text(event: Mapping[str, Any], name: str) -> str:
    if not _text(name, event.get(name)):
        raise FeedbackError(f"'{name}' is empty.")
    return str(event[name])


def _optional_text(event: Mapping[str, Any], name: str) -> str | None:
    return None if event.get(name) is None else _text(name, event[name]) or None


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise FeedbackError(f"'{name}' " + ("is missing." if value is None else f"= {value!r:.80}: it must be text."))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FeedbackError(f"'{name}' holds a lone surrogate, which is not text; send valid UTF-8.") from None
    return value
