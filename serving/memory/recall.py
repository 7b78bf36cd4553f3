"""Recall: what a user asked in past conversations and is near in meaning to what they ask now."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.history import Reply
from thumbwheel.sqlite import connect, empty_log

if TYPE_CHECKING:
    import numpy as np

SCHEMA = """
CREATE TABLE IF NOT EXISTS exchanges (
    message_id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    vector BLOB NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS exchanges_by_user ON exchanges (user, created_at);
"""


@dataclass(frozen=True)
class Exchange:
    """A question of the past, what was answered, when, and how near it is, as a cosine."""

    question: str
    answer: str
    created_at: str
    cosine: float


def nearest(vector: np.ndarray, others: np.ndarray, most: int, at_least: float) -> list[tuple[int, float]]:
    """Return the places and cosines of the unit vectors, shape (n, width), nearest to one, at most `most`."""
    import numpy as np

    if not len(others):
        return []
    cosines = others @ vector
    best = np.argsort(-cosines, kind="stable")[:most]
    return [(int(place), float(cosines[place])) for place in best if cosines[place] >= at_least]


class SqliteRecall:
    """Exchanges of all users with their vectors in one SQLite file; each user sees their own."""

    def __init__(self, path: Path, kept: int) -> None:
        self._kept, self._lock = kept, threading.Lock()
        self._db = connect(path, SCHEMA)
        self._db.execute("PRAGMA secure_delete=ON")

    def add(self, reply: Reply, question: str, vector: np.ndarray) -> None:
        """Keep a reply and its question, whose unit vector is `vector`; beyond `kept` a user's oldest go."""
        import numpy as np

        row = (
            reply.message_id,
            reply.user,
            reply.conversation_id,
            question,
            reply.reply,
            np.asarray(vector, np.float16).tobytes(),
            reply.created_at,
        )
        newest = "SELECT message_id FROM exchanges WHERE user = ? ORDER BY created_at DESC, rowid DESC"
        with self._lock:
            if reply.replaces:
                self._db.execute("DELETE FROM exchanges WHERE message_id = ?", (reply.replaces,))
            self._db.execute("INSERT OR REPLACE INTO exchanges VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._db.execute(
                f"DELETE FROM exchanges WHERE message_id IN ({newest} LIMIT -1 OFFSET ?)", (reply.user, self._kept)
            )

    def near(self, user: str, conversation: str, vector: np.ndarray, most: int, at_least: float) -> list[Exchange]:
        """Return a user's exchanges of other conversations that are near a unit vector, nearest first."""
        import numpy as np

        query = "SELECT question, answer, created_at, vector FROM exchanges WHERE user = ? AND conversation_id != ?"
        with self._lock:
            rows: Sequence[tuple[str, str, str, bytes]] = self._db.execute(query, (user, conversation)).fetchall()
        if not rows:
            return []
        matrix = np.frombuffer(b"".join(row[3] for row in rows), np.float16).reshape(len(rows), -1)
        found = nearest(vector, matrix.astype(np.float32), most, at_least)
        return [Exchange(*rows[place][:3], cosine) for place, cosine in found]

    def count(self, user: str) -> int:
        """Return how many exchanges of a user there are."""
        with self._lock:
            found = self._db.execute("SELECT count(*) FROM exchanges WHERE user = ?", (user,)).fetchone()
        return int(found[0])

    def erase_user(self, user: str) -> int:
        """Forget a user and return how many exchanges there were."""
        with self._lock:
            gone = self._db.execute("DELETE FROM exchanges WHERE user = ?", (user,)).rowcount
            empty_log(self._db)
        return gone

    def close(self) -> None:
        with self._lock:
            self._db.close()
