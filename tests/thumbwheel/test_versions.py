"""Versions: many writers at once, a kill at any point, tables of other writers, and what a version costs."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from tests.s3 import s3_server
from thumbwheel import parts
from thumbwheel.errors import PinError
from thumbwheel.lake import (
    Pin,
    TablePin,
    conform,
    fingerprint,
    newest,
    read_batches,
    read_pinned,
    read_table,
    uri,
    write_pin,
    write_table,
)
from thumbwheel.settings import REPOSITORY, settings
from thumbwheel.versions import commit

SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64())])


def table(*ids: str) -> pa.Table:
    return pa.table({"id": list(ids), "n": pa.array(range(len(ids)), pa.int64())}, schema=SCHEMA)


def reader(*tables: pa.Table) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(SCHEMA, (b for t in tables for b in t.to_batches()))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 64)


def test_a_reader_is_written_as_the_table_of_its_batches(workspace: Path) -> None:
    pin = write_table("t", reader(table("a"), table("b", "c")))

    assert pin.rows == 3
    assert pin == write_table("t", read_table(pin))
    assert read_table(pin)["id"].to_pylist() == ["a", "b", "c"]


def test_many_parts_are_read_in_the_order_of_their_rows(workspace: Path, small_parts: None) -> None:
    ids = [f"{number:03d}" for number in range(200)]
    random.Random(3).shuffle(ids)

    pin = write_table("t", reader(*[table(*ids[i : i + 5]) for i in range(0, 200, 5)]))

    assert len(DeltaTable(uri("t")).file_uris()) > 10
    assert read_table(pin)["id"].to_pylist() == ids
    assert [row for batch in read_batches(pin) for row in batch["id"].to_pylist()] == ids
    assert fingerprint(read_table(pin)) == pin.fingerprint


def test_a_version_shares_the_parts_that_did_not_change(workspace: Path, small_parts: None) -> None:
    first, more = [table(f"{i}a", f"{i}b", f"{i}c") for i in range(20)], table("x", "y", "z")
    one = write_table("t", reader(*first))
    files = set(DeltaTable(uri("t")).file_uris())
    two = write_table("t", reader(*first, more))

    assert len(set(DeltaTable(uri("t")).file_uris()) - files) <= 2
    assert read_table(two).num_rows == read_table(one).num_rows + 3 == 63
    assert write_table("t", reader(*first)) == one


def test_the_same_parts_in_another_order_are_another_version(workspace: Path, small_parts: None) -> None:
    one = write_table("t", reader(table("a", "b", "c", "d"), table("e", "f", "g", "h")))
    two = write_table("t", reader(table("e", "f", "g", "h"), table("a", "b", "c", "d")))

    assert one.version != two.version
    assert read_table(two)["id"].to_pylist() == list("efghabcd")
    assert read_table(one)["id"].to_pylist() == list("abcdefgh")


def test_columns_can_be_picked(workspace: Path) -> None:
    pin = write_table("t", table("a", "b"))

    assert read_table(pin, ["n"]).to_pylist() == [{"n": 0}, {"n": 1}]


def test_types_that_delta_lacks_come_back_as_those_it_has(workspace: Path) -> None:
    pin = write_table("t", pa.table({"x": pa.array([1], pa.uint32()), "y": pa.array(["a"]).dictionary_encode()}))

    assert read_table(pin).schema == pa.schema([("x", pa.int32()), ("y", pa.string())])
    assert fingerprint(read_table(pin)) == pin.fingerprint


def test_writers_at_once_end_as_if_one_came_after_the_other(workspace: Path) -> None:
    contents = [table(f"{number}", "x") for number in range(6)]

    with ThreadPoolExecutor(6) as pool:
        pins = list(pool.map(lambda rows: write_table("t", rows), contents))

    assert sorted(pin.version for pin in pins) == list(range(6))
    assert [read_table(pin) for pin in pins] == contents
    last = max(pins, key=lambda pin: pin.version)
    assert newest("t") == read_table(last)


def test_writers_of_the_same_content_at_once_make_one_version(workspace: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        pins = list(pool.map(lambda _: write_table("t", table("a")), range(6)))

    assert set(pins) == {pins[0]}
    assert DeltaTable(uri("t")).version() == 0


def test_a_table_of_another_writer_is_read_in_an_order_that_stays(workspace: Path) -> None:
    for number in range(4):
        write_deltalake(uri("t"), table(f"{number}"), mode="append")
    pin = TablePin(table="t", version=3, rows=4, fingerprint="")

    assert read_table(pin) == read_table(pin)
    assert sorted(read_table(pin)["id"].to_pylist()) == list("0123")


def test_files_from_before_a_column_came_are_read_with_nulls(workspace: Path) -> None:
    write_deltalake(uri("t"), table("a"))
    write_deltalake(uri("t"), table("b").append_column("new", pa.array(["x"])), mode="append", schema_mode="merge")

    rows = read_table(TablePin(table="t", version=1, rows=2, fingerprint=""))

    assert sorted(rows.to_pylist(), key=lambda r: r["id"]) == [
        {"id": "a", "n": 0, "new": None},
        {"id": "b", "n": 0, "new": "x"},
    ]


def test_a_table_pinned_before_a_column_came_is_read_with_nulls_and_newer_columns_stay(workspace: Path) -> None:
    write_pin(Pin(stage="toy", tables={"rows": write_table("t", table("a"))}))
    later = pa.schema([("id", pa.string()), ("topic", pa.string())])

    assert read_pinned("toy", "rows", later).to_pylist() == [{"id": "a", "topic": None, "n": 0}]
    assert conform(table("a"), SCHEMA) == table("a")


def test_a_file_that_is_gone_is_told_as_a_pin_that_leads_nowhere(workspace: Path) -> None:
    pin = write_table("t", table("a"))
    for path in Path(uri("t")).glob("*.parquet"):
        path.unlink()

    with pytest.raises(PinError, match="'t' at version 0 is not in the lake"):
        read_table(pin)


def test_writing_again_what_was_lost_mends_the_old_pin(workspace: Path) -> None:
    pin = write_table("t", table("a"))
    for path in Path(uri("t")).glob("*.parquet"):
        path.unlink()

    assert write_table("t", table("a")) == pin
    assert read_table(pin) == table("a")


def test_an_overtaken_commit_that_never_succeeds_is_an_error(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deltalake.exceptions import CommitFailedError

    def overtaken(*args: Any) -> None:
        raise CommitFailedError("overtaken")

    monkeypatch.setattr("thumbwheel.versions._commit_once", overtaken)
    monkeypatch.setattr("thumbwheel.versions.ATTEMPTS", 3)

    with pytest.raises(CommitFailedError):
        commit(uri("t"), SCHEMA, [], "mark")


WRITER = """
from thumbwheel import parts
from thumbwheel.lake import write_table
from tests.thumbwheel.test_versions import many_rows
parts.PART_BYTES = 20_000
print("ready", flush=True)
write_table("t", many_rows())
"""


def many_rows() -> pa.RecordBatchReader:
    rows = pa.table({"id": [f"{n:040d}" for n in range(60_000)], "n": range(60_000)}, schema=SCHEMA)
    return pa.RecordBatchReader.from_batches(SCHEMA, rows.to_batches(max_chunksize=200))


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15, 0.4])
def test_a_writer_killed_at_any_point_leaves_the_table_whole_and_the_rerun_is_exact(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    before = write_table("t", table("a"))
    killed = subprocess.Popen([sys.executable, "-c", WRITER], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert killed.stdout
    killed.stdout.readline()
    time.sleep(seconds)
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    assert read_table(before) == table("a")
    monkeypatch.setattr(parts, "PART_BYTES", 20_000)
    pin = write_table("t", many_rows())
    rows = read_table(pin)
    assert rows["n"].to_pylist() == list(range(60_000))
    assert fingerprint(rows) == pin.fingerprint
    assert pin.version == 1


@pytest.fixture
def s3_lake(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lake on an S3 server of moto."""
    import boto3

    with s3_server() as environment:
        for name, value in {**environment, "THUMBWHEEL_LAKE_URI": "s3://lake/tables"}.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        boto3.client("s3").create_bucket(Bucket="lake")
        yield


@pytest.mark.slow
def test_a_lake_on_s3_keeps_the_same_promises(s3_lake: None) -> None:
    first = write_table("t", table("a", "b"))
    second = write_table("t", table("c"))

    assert write_table("t", table("a", "b")) == first
    assert read_table(first) == table("a", "b")
    assert newest("t") == read_table(second) == table("c")
