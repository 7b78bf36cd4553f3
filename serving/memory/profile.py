"""The profile: what a known user stated of themselves, kept until they change or erase it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from serving.memory.statements import Statement
from thumbwheel.sqlite import connect, empty_log

SCHEMA = """
CREATE TABLE IF NOT EXISTS statements (
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    stated_at TEXT NOT NULL,
    PRIMARY KEY (user, kind, value)
) STRICT;
"""


@dataclass(frozen=True)
class Profile:
    """What is known of a user; preferences newest first."""

    name: str | None = None
    language: str | None = None
    preferences: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the profile as the lines of its block."""
        named = [f"{what}: {value}" for what, value in (("name", self.name), ("language", self.language)) if value]
        return [*named, *(f"preference: {value}" for value in self.preferences)]


def profile_of(said: Sequence[Statement], preferences: int) -> Profile:
    """Return the profile that statements, newest first, amount to: the last name and language, the newest wishes."""
    newest = {statement.kind: statement.value for statement in reversed(said)}
    wishes: dict[str, str] = {}
    for statement in said:
        if statement.kind == "preference":
            wishes.setdefault(statement.value.casefold(), statement.value)
    return Profile(newest.get("name"), newest.get("language"), tuple(wishes.values())[:preferences])


class SqliteProfiles:
    """Profiles in one SQLite file; what is erased is overwritten on the disk."""

    def __init__(self, path: Path, preferences: int) -> None:
        self._preferences, self._lock = preferences, threading.Lock()
        self._db = connect(path, SCHEMA)
        self._db.execute("PRAGMA secure_delete=ON")

    def of(self, user: str) -> Profile:
        """Return a user's profile; an empty one where nothing is known."""
        query = "SELECT kind, value FROM statements WHERE user = ? ORDER BY stated_at DESC, rowid DESC"
        with self._lock:
            rows = self._db.execute(query, (user,)).fetchall()
        return profile_of([Statement(*row) for row in rows], self._preferences)

    def add(self, user: str, said: Sequence[Statement]) -> None:
        """Keep statements, newer than all before; of a name or language the last one alone."""
        now = datetime.now(UTC).isoformat()
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for statement in said:
                    self._add(user, statement, now)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def count(self, user: str) -> int:
        """Return how many statements of a user there are."""
        with self._lock:
            found = self._db.execute("SELECT count(*) FROM statements WHERE user = ?", (user,)).fetchone()
        return int(found[0])

    def erase_user(self, user: str) -> int:
        """Forget a user and return how many statements there were."""
        with self._lock:
            gone = self._db.execute("DELETE FROM statements WHERE user = ?", (user,)).rowcount
            empty_log(self._db)
        return gone

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _add(self, user: str, said: Statement, now: str) -> None:
        if said.kind != "preference":
            self._db.execute("DELETE FROM statements WHERE user = ? AND kind = ?", (user, said.kind))
        self._db.execute(
            "DELETE FROM statements WHERE user = ? AND kind = ? AND value = ?", (user, said.kind, said.value)
        )
        self._db.execute("INSERT INTO statements VALUES (?, ?, ?, ?)", (user, said.kind, said.value, now))
        kept = "SELECT rowid FROM statements WHERE user = ? AND kind = 'preference' ORDER BY stated_at DESC, rowid DESC"
        self._db.execute(
            f"DELETE FROM statements WHERE user = ? AND kind = 'preference' AND rowid NOT IN ({kept} LIMIT ?)",
            (user, user, self._preferences),
        )
