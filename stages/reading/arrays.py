"""Values of rows as Arrow columns, whatever characters they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from stages.reading.messages import Messages
from thumbwheel.records import MESSAGE, MESSAGES


def to_batch(columns: Iterable[Sequence[Any] | pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    """Return columns in the order of `schema` as one batch; those that are arrays already stay as they are."""
    arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def text_array(contents: Sequence[bytes]) -> pa.Array:
    """Return texts that are UTF-8 already as a column; from strings it takes several times as long."""
    ends = np.zeros(len(contents) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, contents), np.int32, len(contents)), out=ends[1:])
    return pa.StringArray.from_buffers(len(contents), pa.py_buffer(ends), pa.py_buffer(b"".join(contents)))


def interleaved(
    batch: pa.RecordBatch, places: np.ndarray | pa.Array, other: pa.RecordBatch, others: np.ndarray
) -> pa.RecordBatch:
    """Return the rows of two batches in the order of their places; those of one place keep theirs."""
    order = np.argsort(np.concatenate([places, others]), kind="stable")
    return pa.concat_batches([batch, other]).take(pa.array(order))


def encodable(text: Any) -> Any:
    """Return a text with a question mark for every lone surrogate, and what is no text as it is."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


def _array(values: Sequence[Any] | pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if kind == MESSAGES:
        return _messages_array(values)
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([encodable(value) for value in values], kind)


def _messages_array(conversations: Iterable[Messages]) -> pa.Array:
    """Return conversations as a column; by its leaves, for from dictionaries it takes three times as long."""
    ends, end = [0], 0
    for messages in conversations:
        end += len(messages)
        ends.append(end)
    flat = list(chain.from_iterable(conversations))
    leaves = [pa.array([message[name] for message in flat], pa.string()) for name in ("role", "content")]
    return pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()), pa.StructArray.from_arrays(leaves, fields=list(MESSAGE))
    )
