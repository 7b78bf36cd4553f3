"""The lake's files: cut by content, named by content, written once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbwheel import parts
from thumbwheel.fingerprint import Fingerprint, fingerprint
from thumbwheel.parts import Part, cut, write_parts

SCHEMA = pa.schema([("x", pa.string())])


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two rows, and parts of a few batches."""
    monkeypatch.setattr(parts, "BATCH_ROWS", 2)
    monkeypatch.setattr(parts, "PART_BYTES", 2000)


def batches(texts: list[str], size: int = 2) -> list[pa.RecordBatch]:
    return pa.table({"x": texts}, schema=SCHEMA).to_batches(max_chunksize=size)


def write(folder: Path, rows: list[pa.RecordBatch]) -> list[Part]:
    return write_parts(str(folder), pa.RecordBatchReader.from_batches(SCHEMA, rows), Fingerprint(SCHEMA))


def texts(number: int, seed: int = 1) -> list[str]:
    generator = random.Random(seed)
    return [generator.randbytes(40).hex() for _ in range(number)]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9)), st.integers(1, 5))
def test_cutting_keeps_every_row_in_its_order(rows: list[str], size: int) -> None:
    found = [row for part in cut(batches(rows, size), SCHEMA) for batch in part for row in batch["x"].to_pylist()]

    assert found == rows


def test_the_parts_hold_all_rows_and_their_sum_is_fed(small_parts: None, tmp_path: Path) -> None:
    rows, total = texts(200), Fingerprint(SCHEMA)

    written = write_parts(str(tmp_path), pa.RecordBatchReader.from_batches(SCHEMA, batches(rows)), total)

    assert len(written) > 4
    assert pa.concat_tables(pa.parquet.read_table(tmp_path / p.name) for p in written)["x"].to_pylist() == rows
    assert sum(part.rows for part in written) == 200
    assert [part.size for part in written] == [(tmp_path / part.name).stat().st_size for part in written]
    assert total.hexdigest() == fingerprint(pa.table({"x": rows}))


def test_a_change_in_the_middle_writes_only_the_parts_around_it(small_parts: None, tmp_path: Path) -> None:
    rows = texts(2000)
    before = write(tmp_path, batches(rows))
    after = write(tmp_path, batches([*rows[:1000], *texts(6, seed=2), *rows[1000:]]))

    assert len(before) > 40
    assert len({part.name for part in after} - {part.name for part in before}) <= 4


def test_a_part_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    (first,) = write(tmp_path, batches(["a", "b"]))
    before = (tmp_path / first.name).stat().st_mtime_ns

    assert write(tmp_path, batches(["a", "b"])) == [first]
    assert (tmp_path / first.name).stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_rows_in_another_split_of_batches_make_the_same_bytes(tmp_path: Path) -> None:
    (one,) = write(tmp_path / "one", batches(["a", "b", "c"], 1))
    (other,) = write(tmp_path / "other", batches(["a", "b", "c"], 3))

    assert one == other
    assert (tmp_path / "one" / one.name).read_bytes() == (tmp_path / "other" / other.name).read_bytes()


def test_the_same_part_twice_has_two_names(small_parts: None, tmp_path: Path) -> None:
    again = texts(2)

    written = write(tmp_path, batches(again * 400))

    assert len({part.name for part in written}) == len(written) > 10
    assert sum(part.rows for part in written) == 800


def test_no_rows_are_one_empty_part(tmp_path: Path) -> None:
    (part,) = write(tmp_path, [])

    assert part.rows == 0


def test_a_writer_holds_no_more_than_a_part(small_parts: None, tmp_path: Path) -> None:
    asked: list[int] = []

    def rows() -> Iterator[pa.RecordBatch]:
        for number in range(500):
            asked.append(len(list(tmp_path.iterdir())))
            yield batches(texts(2, seed=number))[0]

    write_parts(str(tmp_path), pa.RecordBatchReader.from_batches(SCHEMA, rows()), Fingerprint(SCHEMA))

    assert asked == sorted(asked)
    assert asked[-1] > 20
