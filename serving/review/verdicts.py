"""Who has judged what: verdicts in one SQLite file, from which the queue is served and agreement is told."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from thumbwheel.reviews import SKIPPED
from thumbwheel.sqlite import connect, empty_log

SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    item TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    verdict TEXT NOT NULL,
    judged_at TEXT NOT NULL,
    PRIMARY KEY (item, reviewer)
) STRICT;
"""


class Verdicts:
    """Verdicts of all reviewers, one each on an item; the first stands."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = connect(path, SCHEMA)
        self._db.execute("PRAGMA secure_delete=ON")

    def add(self, item: str, reviewer: str, verdict: str, judged_at: str) -> bool:
        """Keep a verdict; False where the reviewer had given one already."""
        with self._lock:
            added = self._db.execute(
                "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?)", (item, reviewer, verdict, judged_at)
            )
        return added.rowcount == 1

    def given(self) -> dict[str, dict[str, str]]:
        """Return all verdicts: by item, in the order in which they came, the reviewer's."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        with self._lock:
            rows = self._db.execute("SELECT item, reviewer, verdict FROM verdicts ORDER BY judged_at, rowid").fetchall()
        for item, reviewer, verdict in rows:
            found[item][reviewer] = verdict
        return found

    def count(self, items: Collection[str], users: Collection[str]) -> int:
        """Return how many verdicts there are on items, or by users."""
        given = self.given()
        return sum(item in items or reviewer in users for item, of_item in given.items() for reviewer in of_item)

    def erase(self, items: Collection[str], users: Collection[str]) -> int:
        """Erase the verdicts on items, and those by users; return how many there were."""
        with self._lock:
            gone = sum(self._db.execute("DELETE FROM verdicts WHERE item = ?", (item,)).rowcount for item in items)
            gone += sum(self._db.execute("DELETE FROM verdicts WHERE reviewer = ?", (u,)).rowcount for u in users)
            empty_log(self._db)
        return gone

    def close(self) -> None:
        with self._lock:
            self._db.close()


def decided(given: dict[str, str]) -> list[str]:
    """Return an item's verdicts but those of who skipped it, oldest first."""
    return [verdict for verdict in given.values() if verdict != SKIPPED]
