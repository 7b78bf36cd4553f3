"""The fingerprint: it sees content and its order, and nothing of how the content is laid out in memory."""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbwheel.errors import RecordError
from thumbwheel.fingerprint import Fingerprint, fingerprint, plain_schema
from thumbwheel.records import CONVERSATION

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
MESSAGE = st.none() | st.fixed_dictionaries({"role": st.none() | TEXT, "content": st.none() | TEXT})
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("messages", CONVERSATION.field("messages").type),
        ("numbers", pa.list_(pa.int64())),
        ("flag", pa.bool_()),
        ("score", pa.float64()),
        ("raw", pa.binary()),
    ]
)
ROW = st.fixed_dictionaries(
    {
        "text": st.none() | TEXT,
        "messages": st.none() | st.lists(MESSAGE, max_size=3),
        "numbers": st.none() | st.lists(st.none() | st.integers(-9, 9), max_size=3),
        "flag": st.none() | st.booleans(),
        "score": st.none() | st.sampled_from([0.0, -1.5, 2.0]),
        "raw": st.none() | st.binary(max_size=4),
    }
)
ROWS = st.lists(ROW, max_size=8)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@given(ROWS, ROWS)
def test_two_tables_have_one_fingerprint_only_if_their_rows_are_the_same(one: list[Any], other: list[Any]) -> None:
    assert (fingerprint(table(one)) == fingerprint(table(other))) is (one == other)


@given(ROWS, st.lists(st.integers(0, 8), max_size=4))
def test_chunks_and_offsets_are_not_seen(rows: list[Any], cuts: list[int]) -> None:
    whole = table([*rows, *rows]).slice(len(rows))
    ends = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    pieces = [whole.slice(start, end - start) for start, end in itertools.pairwise(ends)]

    assert fingerprint(pa.concat_tables([whole.slice(0, 0), *pieces])) == fingerprint(table(rows))


@given(ROWS)
def test_the_types_that_a_reader_may_choose_are_not_seen(rows: list[Any]) -> None:
    plain = table(rows).select(["text", "numbers", "raw"])
    large = plain.cast(
        pa.schema([("text", pa.large_string()), ("numbers", pa.large_list(pa.int64())), ("raw", pa.large_binary())])
    )
    coded = plain.set_column(0, "text", plain["text"].dictionary_encode())

    assert fingerprint(plain) == fingerprint(large) == fingerprint(coded)


def test_what_a_null_hides_is_not_seen() -> None:
    hidden = pa.Array.from_buffers(
        pa.string(), 2, [pa.py_buffer(b"\x01"), pa.array([0, 1, 4], pa.int32()).buffers()[1], pa.py_buffer(b"ahid")]
    )

    assert hidden.to_pylist() == ["a", None]
    assert fingerprint(pa.table({"x": hidden})) == fingerprint(pa.table({"x": ["a", None]}))


@given(st.lists(TEXT, min_size=1, max_size=6))
def test_text_cannot_move_from_one_row_to_the_next_unseen(texts: list[str]) -> None:
    joined = pa.table({"x": ["".join(texts), *[""] * (len(texts) - 1)]})

    assert (fingerprint(pa.table({"x": texts})) == fingerprint(joined)) is (joined["x"].to_pylist() == texts)


def test_names_types_and_columns_are_seen() -> None:
    tables = [
        pa.table({"x": [1]}),
        pa.table({"y": [1]}),
        pa.table({"x": [1.0]}),
        pa.table({"x": ["1"]}),
        pa.table({"x": [1], "y": [1]}),
        pa.table({"x": pa.array([], pa.int64())}),
        pa.table({"x": pa.array([None], pa.int64())}),
        pa.table({"x": [datetime.date(1970, 1, 2)]}),
    ]

    assert len({fingerprint(table) for table in tables}) == len(tables)


def test_field_metadata_and_the_names_of_list_items_are_not_seen() -> None:
    element = pa.list_(pa.field("element", pa.int64(), metadata={"a": "b"}))
    named = pa.table({"x": pa.array([[1]], element)})

    assert fingerprint(named) == fingerprint(pa.table({"x": [[1]]}))
    assert plain_schema(named.schema) == pa.schema([("x", pa.list_(pa.int64()))])


def test_a_type_that_no_table_of_ours_has_is_named() -> None:
    odd = pa.table({"x": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))})

    with pytest.raises(RecordError, match="map<string"):
        fingerprint(odd)


def test_a_fingerprint_may_be_asked_for_on_the_way() -> None:
    digest = Fingerprint(pa.schema([("x", pa.int64())]))
    marks = [digest.hexdigest()]
    for number in (1, 2):
        digest.update(pa.record_batch({"x": [number]}))
        marks.append(digest.hexdigest())

    assert marks == [fingerprint(pa.table({"x": pa.array(list(range(1, n + 1)), pa.int64())})) for n in range(3)]
