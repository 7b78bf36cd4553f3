from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from thumbwheel.sqlite import connect, empty_log

SCHEMA = "CREATE TABLE IF NOT EXISTS rows (value INTEGER PRIMARY KEY)"
ROUNDS, OPENERS = 100, 4


def test_a_file_is_made_with_its_folder_its_tables_and_a_write_ahead_log(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "made" / "a.db", SCHEMA)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("SELECT * FROM rows").fetchall() == []


def test_without_an_isolation_level_each_statement_commits_and_with_one_they_wait(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "a.db", SCHEMA)) as reader:
        with closing(connect(tmp_path / "a.db", SCHEMA)) as db:
            db.execute("INSERT INTO rows VALUES (1)")
            assert reader.execute("SELECT * FROM rows").fetchall() == [(1,)]
        with closing(connect(tmp_path / "a.db", SCHEMA, isolation_level="DEFERRED")) as db:
            db.execute("INSERT INTO rows VALUES (2)")
            assert reader.execute("SELECT * FROM rows").fetchall() == [(1,)]
            db.commit()
            assert reader.execute("SELECT * FROM rows").fetchall() == [(1,), (2,)]


@contextmanager
def _read(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a file without a log in a transaction, which ends with the `with` block, or by a commit before."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        db.execute(SCHEMA)
        db.execute("BEGIN")
        db.execute("SELECT * FROM rows").fetchall()
        yield db


def test_a_file_that_another_reads_is_waited_for(tmp_path: Path) -> None:
    with _read(tmp_path / "a.db") as reader:
        ending = threading.Timer(0.3, reader.commit)
        ending.start()

        with closing(connect(tmp_path / "a.db", SCHEMA)) as db:
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)

        ending.join()


def test_a_file_that_another_holds_too_long_is_an_error(tmp_path: Path) -> None:
    with _read(tmp_path / "a.db"), pytest.raises(sqlite3.OperationalError, match="locked"):
        connect(tmp_path / "a.db", SCHEMA, wait_s=0.2)


def test_a_file_that_is_no_database_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("no database, but long enough for the header of one" * 20)

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        connect(tmp_path / "a.db", SCHEMA)


def _open_new_files(folder: Path, together: Barrier) -> None:
    for number in range(ROUNDS):
        together.wait(60)
        connect(folder / f"{number}.db", SCHEMA).close()


def test_processes_may_open_a_new_file_at_the_same_moment(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(OPENERS)
    openers = [context.Process(target=_open_new_files, args=(tmp_path, together)) for _ in range(OPENERS)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()

    assert [opener.exitcode for opener in openers] == [0] * OPENERS


def test_what_was_erased_stands_in_no_log_or_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(connect(path, "CREATE TABLE IF NOT EXISTS words (word TEXT)", wait_s=0.2)) as db:
        db.execute("PRAGMA secure_delete=ON")
        db.execute("INSERT INTO words VALUES ('brindlewick')")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT * FROM words").fetchall() == [("brindlewick",)]
            db.execute("DELETE FROM words")
            with pytest.raises(sqlite3.OperationalError, match="erase again"):
                empty_log(db)

        empty_log(db)

        assert not any(b"brindlewick" in file.read_bytes() for file in tmp_path.iterdir())
