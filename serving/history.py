"""Conversation history: every reply with the exact prompt that led to it, so that a thumb finds both byte for byte."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Messages = list[dict[str, str]]
FILTERED = "content_filter"
"""How a reply ended that the guardrails took, as OpenAI names it."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    message_id TEXT PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    prompt TEXT NOT NULL,
    system TEXT NOT NULL,
    reply TEXT NOT NULL,
    finish TEXT NOT NULL,
    model TEXT NOT NULL,
    arm TEXT NOT NULL,
    user TEXT NOT NULL,
    replaces TEXT,
    prompt_tokens INTEGER NOT NULL,
    reply_tokens INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    retrieved TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS replies_by_conversation ON replies (conversation_id);
CREATE INDEX IF NOT EXISTS replies_by_user ON replies (user);
"""


@dataclass(frozen=True)
class Reply:
    """One reply as the user saw it. `prompt` is the conversation before it; `system` what the service set before that.

    Where documents were set into the last message of `prompt`, `retrieved` holds the `question` in its stead, as it was
    asked, and the `sources`. `finish` is the engine's `stop` or `length`, `cancelled` when the user stopped it, `error`
    when the engine died, `content_filter` when the guardrails ended it.
    """

    message_id: str
    conversation_id: str
    prompt: Messages
    system: str
    reply: str
    finish: str
    model: str
    arm: str
    user: str
    replaces: str | None
    prompt_tokens: int
    reply_tokens: int
    created_at: str
    retrieved: dict[str, Any] | None = None

    def said(self) -> Messages:
        """Return the conversation before the reply as the user knows it, without documents."""
        if not self.retrieved:
            return self.prompt
        return [*self.prompt[:-1], {**self.prompt[-1], "content": self.retrieved["question"]}]


class History(Protocol):
    """Where replies are kept; a wide-column store fits behind the same calls."""

    def save(self, reply: Reply) -> None: ...

    def find(self, message_id: str) -> Reply | None: ...

    def conversation(self, conversation_id: str) -> list[Reply]: ...

    def of_user(self, user: str) -> list[Reply]: ...

    def erase_user(self, user: str) -> int: ...


class SqliteHistory:
    """History in one SQLite file, in WAL mode, safe to share between threads and processes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA secure_delete=ON")
        self._db.executescript(SCHEMA)
        self._add_column("retrieved TEXT")

    def save(self, reply: Reply) -> None:
        """Store a reply, durable against the death of this process when the call returns."""
        row = {**vars(reply), "prompt": _json(reply.prompt), "retrieved": reply.retrieved and _json(reply.retrieved)}
        marks = ", ".join(f":{name}" for name in row)
        self._query(f"INSERT INTO replies ({', '.join(row)}) VALUES ({marks})", row)

    def find(self, message_id: str) -> Reply | None:
        """Return one reply, or None."""
        found = self._query("SELECT * FROM replies WHERE message_id = :id", {"id": message_id})
        return _reply(found[0]) if found else None

    def conversation(self, conversation_id: str) -> list[Reply]:
        """Return the replies of a conversation, oldest first; empty where there is no such conversation."""
        query = "SELECT * FROM replies WHERE conversation_id = :id ORDER BY rowid"
        return [_reply(row) for row in self._query(query, {"id": conversation_id})]

    def of_user(self, user: str) -> list[Reply]:
        """Return all replies of a user's conversations, whoever else wrote in them."""
        theirs = "SELECT conversation_id FROM replies WHERE user = :user"
        query = f"SELECT * FROM replies WHERE conversation_id IN ({theirs}) ORDER BY rowid"
        return [_reply(row) for row in self._query(query, {"user": user})]

    def erase_user(self, user: str) -> int:
        """Erase a user's conversations, whoever else wrote in them; return how many replies there were.

        Freed pages are overwritten, and the write-ahead log is emptied into the file as soon as nobody reads it.
        """
        theirs = "SELECT conversation_id FROM replies WHERE user = :user"
        with self._lock:
            gone = self._db.execute(f"DELETE FROM replies WHERE conversation_id IN ({theirs})", {"user": user}).rowcount
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _add_column(self, column: str) -> None:
        """Add a column that a file of an earlier version lacks."""
        try:
            self._query(f"ALTER TABLE replies ADD COLUMN {column}", {})
        except sqlite3.OperationalError as error:
            if "duplicate column" not in str(error):
                raise

    def _query(self, query: str, values: dict[str, Any]) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()


def _reply(row: sqlite3.Row) -> Reply:
    retrieved = row["retrieved"] and json.loads(row["retrieved"])
    return Reply(**{**dict(row), "prompt": json.loads(row["prompt"]), "retrieved": retrieved})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
