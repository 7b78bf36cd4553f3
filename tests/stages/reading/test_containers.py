"""Containers: streamed in flat memory, the same values as a whole read, and no row that is lost unseen."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.reading import containers
from stages.reading.containers import Fault, Record, handfuls, parse, read_csv, read_json, read_lines, read_parquet

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
BLANKS = st.sampled_from(["", " ", "\n", "\r\n\t "])


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time, as one from afar may."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = io.BytesIO(data), size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.data.read(min(self.size, len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def values(data: bytes) -> list[Any]:
    return [record.value for record in read_json(io.BytesIO(data))]


@given(st.lists(VALUES, max_size=6), BLANKS, st.sampled_from([None, 1]), st.integers(1, 40))
def test_an_array_read_through_any_window_is_the_array(
    items: list[Any], blank: str, indent: int | None, window: int
) -> None:
    text = f"{blank}{json.dumps(items, indent=indent, ensure_ascii=False)}{blank}"
    data = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(containers, "WINDOW", window)
        found = [record.value for record in read_json(io.BufferedReader(Trickle(data, window)))]

    assert found == json.loads(data)


@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_an_array_that_is_cut_off_never_reads_as_a_shorter_one(items: list[Any], data: st.DataObject) -> None:
    whole = json.dumps(items).encode()
    end = data.draw(st.integers(1, len(whole) - 1))

    with pytest.raises(ValueError):
        values(whole[:end])


@pytest.mark.parametrize(
    "text", ["", " ", "[1] 2", "[1 2]", "[1,]", '{"a": \n1}', "nonsense", "[" * 5000, "[nonsense, 1]", '["\\ud8"]']
)
def test_what_is_neither_an_array_nor_lines_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        values(text.encode())


def test_a_broken_array_is_not_read_to_its_end_in_vain() -> None:
    stream = io.BytesIO(b'[{"a": 1}, nonsense' + b" " * 50_000_000 + b"]")

    with pytest.raises(ValueError):
        list(read_json(stream))
    assert stream.tell() < 5_000_000


def test_a_record_of_ten_megabytes_is_read_from_an_array() -> None:
    long = "é" * 5_000_000

    assert values(json.dumps([{"a": long}, 2], ensure_ascii=False).encode()) == [{"a": long}, 2]


def test_lines_in_a_json_file_keep_their_numbers() -> None:
    found = list(read_json(io.BytesIO(b'\n{"a": 1}\n\n{"a": 2}\nbad\n')))

    assert [record.row for record in found] == [1, 3, 4]
    assert isinstance(found[2].value, Fault)


LINES = st.one_of(
    st.binary(max_size=40),
    VALUES.map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"NaN",
            b"[Infinity]",
            b'"\\ud800"',
            b"\xef\xbb\xbf{}",
            b"[" * 3000,
            b"1" * 5000,
            b'{"a": 1, "a": 2}',
            b"1e999",
        ]
    ),
    st.integers(2**63, 2**80).map(lambda n: b'{"user": %d}' % n),
)


@given(LINES)
def test_a_line_is_what_json_says_it_is_or_a_fault_where_json_refuses(line: bytes) -> None:
    try:
        said = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        said = Fault
    found = parse(line)

    if said is Fault:
        assert isinstance(found, Fault)
    elif not (isinstance(said, float) and said != said):
        assert found == said


@given(st.lists(LINES.map(lambda line: line.replace(b"\n", b" ")), max_size=8), st.integers(0, 9))
def test_every_line_that_is_not_blank_is_a_record_with_its_number(lines: list[bytes], first: int) -> None:
    found = list(read_lines(io.BytesIO(b"\n".join(lines)), first))

    assert [record.row for record in found] == [first + n for n, line in enumerate(lines) if line.strip()]


def test_rows_of_a_csv_keep_what_utf8_cannot_hold_as_a_fault() -> None:
    found = [record.value for record in read_csv(io.BytesIO(b'a,b\n1,2\n\xff,2\n"x\ny",3\n1,2,\xff\n'))]

    assert [getattr(value, "reason", None) for value in found] == [None, "encoding", None, "encoding"]
    assert found[2] == {"a": "x\ny", "b": "3"}


def test_a_text_with_a_comma_and_no_quotation_marks_is_a_fault_and_never_half_a_text() -> None:
    found = [record.value for record in read_csv(io.BytesIO(b"a,b\nHello, world,Hi\n1,2,\n1\n"))]

    assert found[0] == Fault("shape", "3 cells under a heading of 2", '{"a": "Hello", "b": " world", "": ["Hi"]}')
    assert found[1:] == [{"a": "1", "b": "2"}, {"a": "1", "b": None}]


def test_marks_of_quotation_that_do_not_match_are_named_by_their_line() -> None:
    with pytest.raises(csv.Error, match="line 3: "):
        list(read_csv(io.BytesIO(b'a,b\n1,2\n"x"y,3\n')))


def test_parquet_is_read_row_group_by_row_group_through_a_small_buffer(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"n": range(5000), "t": ["x" * 50] * 5000}), path, row_group_size=700)
    with path.open("rb") as stream:
        records = list(read_parquet(stream))

    assert [record.row for record in records] == list(range(5000))
    assert records[4999].value == {"n": 4999, "t": "x" * 50}


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([0, 1 << 50, 0], pa.timestamp("s")), "content_type"),
        (pa.array([0, 1 << 60, 0], pa.duration("ms")), "content_type"),
        (pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"\xff", b"c"]).buffers()), "encoding"),
    ],
    ids=["timestamp", "duration", "text"],
)
def test_a_value_that_python_cannot_hold_costs_its_row_alone(tmp_path: Path, column: pa.Array, reason: str) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"n": [1, 2, 3], "odd": column}), path)
    with path.open("rb") as stream:
        first, broken, last = (record.value for record in read_parquet(stream))

    assert (first["n"], last["n"]) == (1, 3)
    assert (broken.reason, broken.text) == (reason, '{"n": 2}')
    assert broken.detail.startswith("odd cannot be read: ")


def test_long_rows_of_parquet_are_read_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    original = pq.ParquetFile.iter_batches

    def iter_batches(self: Any, size: int, **options: Any) -> Any:
        asked.append(size)
        return original(self, size, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"t": [str(n) * 1_000_000 for n in range(10, 40)]}), path, compression=None, use_dictionary=False
    )
    with path.open("rb") as stream:
        assert len(list(read_parquet(stream))) == 30

    assert asked == [containers.BYTES_AT_ONCE * 30 // pq.read_metadata(path).row_group(0).total_byte_size]
    assert 0 < asked[0] < 10


def test_a_handful_ends_where_it_holds_enough_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "HANDFUL_BYTES", 100)
    records = list(read_lines(io.BytesIO(b'"%b"\n' % (b"x" * 46) * 5)))

    assert [len(handful) for handful in handfuls(records)] == [3, 2]


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (read_lines, b'{"a": "%b"}\n' % (b"x" * 90)),
        (read_json, b'[{"a": "%b"}]' % (b"x" * 90)),
        (read_csv, b"a\n" + b"x" * 90),
    ],
    ids=["lines", "json", "csv"],
)
def test_a_record_tells_about_how_large_it_is(read: Callable[[Any], Iterable[Record]], data: bytes) -> None:
    (record,) = read(io.BytesIO(data))

    assert 90 <= record.size <= 101
