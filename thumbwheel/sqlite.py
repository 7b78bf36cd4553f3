"""SQLite files that threads and processes share: opened in one way, with a write-ahead log."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path
from typing import Literal

WAIT_SECONDS = 10
PRIMARY = 0xFF
"""The bits of an error code that name its kind; those above them name its variety."""


def connect(
    path: Path, schema: str, isolation_level: Literal["DEFERRED"] | None = None, wait_s: float = WAIT_SECONDS
) -> sqlite3.Connection:
    """Open a file, made where there is none, with the tables of `schema`, which must be harmless where they exist.

    A statement waits up to `wait_s` seconds for other connections; without an isolation level each commits by itself.

    Raises:
        sqlite3.Error: the file is no database, cannot be written, or others held it longer than that.
        OSError: its folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=wait_s, isolation_level=isolation_level, check_same_thread=False)
    try:
        _write_ahead(db, wait_s)
        db.executescript(schema)
    except BaseException:
        db.close()
        raise
    return db


def _write_ahead(db: sqlite3.Connection, wait_s: float) -> None:
    """Turn on the log. SQLite waits for nobody at this step: two that open a new file at once both read it, each wants
    it alone, and one is told that it is busy."""
    last = time.monotonic() + wait_s
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > last:
                raise
            time.sleep(random.uniform(0.001, 0.02))
        else:
            return


def empty_log(db: sqlite3.Connection) -> None:
    """Move the write-ahead log into the file and empty it, so that nothing erased stands in it.

    Raises:
        sqlite3.OperationalError: others read an earlier state of the file for longer than a statement waits.
    """
    if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise sqlite3.OperationalError("others are reading, and what was erased still stands in the log: erase again")
