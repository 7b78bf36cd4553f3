"""Conversation history: every reply with the exact prompt that led to it, so that a thumb finds both byte for byte."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict

from thumbwheel.sqlite import connect, empty_log


class CalledFunction(TypedDict):
    """`arguments` is JSON text, as the model wrote it."""

    name: str
    arguments: str


class Call(TypedDict):
    """A call of a tool, in OpenAI's form."""

    id: str
    type: str
    function: CalledFunction


class Message(TypedDict):
    """A message in OpenAI's form, but that content is empty, and never null, where there are `tool_calls` alone."""

    role: str
    content: str
    tool_calls: NotRequired[list[Call]]
    tool_call_id: NotRequired[str]


Messages = list[Message]
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
    retrieved TEXT,
    calls TEXT,
    offered TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS replies_by_conversation ON replies (conversation_id);
CREATE INDEX IF NOT EXISTS replies_by_user ON replies (user);
"""


@dataclass(frozen=True)
class Reply:
    """One reply as the user saw it. `prompt` is the conversation before it; `system` what the service set before that.

    Where documents were set into the user's last message in `prompt`, `retrieved` holds the `question` in its stead, as
    it was asked, and the `sources`. `finish` is the engine's `stop` or `length`, `tool_calls` where `calls` end it,
    `cancelled` when the user stopped it, `error` when the engine died, `content_filter` when the guardrails ended it.
    `offered` is what the request said of tools: `tools`, and `tool_choice` and `parallel_tool_calls` where it had them.
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
    calls: list[Call] | None = None
    offered: dict[str, Any] | None = None

    def said(self) -> Messages:
        """Return the conversation before the reply as the user knows it, without documents."""
        if not self.retrieved:
            return self.prompt
        return with_question(self.prompt, self.retrieved["question"])

    def message(self) -> Message:
        """Return the reply as a message of the conversation."""
        said: Message = {"role": "assistant", "content": self.reply}
        return {**said, "tool_calls": self.calls} if self.calls else said


def asked_at(messages: Messages) -> int:
    """Return the place of the user's last message, -1 where there is none: results of calls may follow it."""
    return max((place for place, message in enumerate(messages) if message["role"] == "user"), default=-1)


def question_of(messages: Messages) -> str:
    """Return what the user asked last; empty where nothing was."""
    place = asked_at(messages)
    return messages[place]["content"] if place >= 0 else ""


def with_question(messages: Messages, content: str) -> Messages:
    """Return messages with another text in the user's last one."""
    place = asked_at(messages)
    return [*messages[:place], {**messages[place], "content": content}, *messages[place + 1 :]]


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
        self._lock = threading.Lock()
        self._db = connect(path, SCHEMA)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA secure_delete=ON")
        for column in ("retrieved TEXT", "calls TEXT", "offered TEXT"):
            self._add_column(column)

    def save(self, reply: Reply) -> None:
        """Store a reply, durable against the death of this process when the call returns."""
        row = row_of(reply)
        marks = ", ".join(f":{name}" for name in row)
        self._query(f"INSERT INTO replies ({', '.join(row)}) VALUES ({marks})", row)

    def find(self, message_id: str) -> Reply | None:
        """Return one reply, or None."""
        found = self._query("SELECT * FROM replies WHERE message_id = :id", {"id": message_id})
        return reply_of(dict(found[0])) if found else None

    def conversation(self, conversation_id: str) -> list[Reply]:
        """Return the replies of a conversation, oldest first; empty where there is no such conversation."""
        query = "SELECT * FROM replies WHERE conversation_id = :id ORDER BY rowid"
        return [reply_of(dict(row)) for row in self._query(query, {"id": conversation_id})]

    def of_user(self, user: str) -> list[Reply]:
        """Return all replies of a user's conversations, whoever else wrote in them."""
        theirs = "SELECT conversation_id FROM replies WHERE user = :user"
        query = f"SELECT * FROM replies WHERE conversation_id IN ({theirs}) ORDER BY rowid"
        return [reply_of(dict(row)) for row in self._query(query, {"user": user})]

    def erase_user(self, user: str) -> int:
        """Erase a user's conversations, whoever else wrote in them; return how many replies there were.

        Freed pages are overwritten, and the write-ahead log is emptied into the file.
        """
        theirs = "SELECT conversation_id FROM replies WHERE user = :user"
        with self._lock:
            gone = self._db.execute(f"DELETE FROM replies WHERE conversation_id IN ({theirs})", {"user": user}).rowcount
            empty_log(self._db)
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


JSON = ("prompt", "retrieved", "calls", "offered")
"""Columns that hold JSON text, or null."""


def row_of(reply: Reply) -> dict[str, Any]:
    """Return a reply as a row of a table: its values by their columns."""
    row = dict(vars(reply))
    return {**row, **{name: _json(row[name]) for name in JSON if row[name] is not None}}


def reply_of(row: dict[str, Any]) -> Reply:
    """Return the reply that a row holds."""
    return Reply(**{**row, **{name: json.loads(row[name]) for name in JSON if row[name] is not None}})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
