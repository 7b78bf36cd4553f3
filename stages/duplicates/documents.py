"""Tables of conversations and pairs as documents to be compared, without making Python objects of their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.duplicates.folding import Documents, fold_documents
from stages.duplicates.rows import Folded

BATCH = 1 << 16
"""Rows that are folded at a time, at most."""


def fold_table(table: pa.Table, documents_of: Callable[[pa.Table], Documents]) -> Folded:
    """Return the rows of a table folded, a batch at a time; nothing is copied to make batches."""
    return fold_documents([documents_of(pa.Table.from_batches([batch])) for batch in table.to_batches(BATCH)])


def conversation_documents(table: pa.Table) -> Documents:
    """Return a conversation's messages by role; all that one role says is one part, roles by their name."""
    rows, roles, texts = messages(table["messages"])
    coded = pc.dictionary_encode(roles)
    names = coded.dictionary.to_pylist()
    rank = np.argsort(np.argsort(names)) if names else np.empty(0, np.int64)
    parts = rank[as_numbers(coded.indices)] if names else rank
    return _documents(table.num_rows, rows, parts, texts, tuple(sorted(names)))


def preference_documents(table: pa.Table) -> Documents:
    """Return a pair's prompt, chosen and rejected text, each a part."""
    rows, _, prompts = messages(table["prompt"])
    replies = np.arange(table.num_rows)
    texts = [prompts, *(_column(table[name], pa.large_string()) for name in ("chosen", "rejected"))]
    parts = np.repeat([0, 1, 2], [len(rows), len(replies), len(replies)])
    every = np.concatenate((rows, replies, replies))
    return _documents(table.num_rows, every, parts, pa.concat_arrays(texts), ("prompt", "chosen", "rejected"))


def text_documents(texts: pa.ChunkedArray) -> Documents:
    """Return texts as documents of one part without a name."""
    rows = np.arange(len(texts))
    return _documents(len(rows), rows, np.zeros(len(rows), np.int64), _column(texts, pa.large_string()), ("",))


def messages(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array, pa.Array]:
    """Return of every message in a column of messages its row, its role and its text."""
    lists = _whole(column)
    counts = as_numbers(pc.fill_null(pc.list_value_length(lists), 0))
    roles, texts = lists.flatten().flatten()
    rows = np.repeat(np.arange(len(lists)), counts)
    return rows, pc.fill_null(roles, ""), texts.cast(pa.large_string())


def as_column(values: np.ndarray) -> pa.Array:
    """Return 64-bit numbers as a column; pyarrow's own conversion loads pandas, which takes longer than a small run."""
    kind = pa.float64() if values.dtype == np.float64 else pa.int64()
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def as_words(words: Sequence[str]) -> pa.Array:
    """Return ASCII words as a column; without pandas likewise."""
    ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(words), [None, pa.py_buffer(ends), pa.py_buffer("".join(words).encode())]
    )


def as_numbers(column: pa.Array) -> np.ndarray:
    """Return a column of numbers or truths, none of them null, as 64-bit integers; without pandas likewise."""
    whole = column.cast(pa.int64(), safe=False)
    return np.frombuffer(whole.buffers()[1] or b"", np.int64)[whole.offset : whole.offset + len(whole)]


def _documents(size: int, rows: np.ndarray, parts: np.ndarray, texts: pa.Array, names: tuple[str, ...]) -> Documents:
    """Return texts as the pieces of `size` documents: by row, in it by part, and else as they stand."""
    order = np.argsort(rows * max(len(names), 1) + parts, kind="stable")
    text, places = _buffers(texts)
    at = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=size), out=at[1:])
    return Documents(text, places[:-1][order], places[1:][order], parts[order].astype(np.int64), at, names)


def bytes_of(texts: pa.ChunkedArray) -> Folded:
    """Return a column of strings as its bytes, unfolded."""
    text, places = _buffers(_column(texts, pa.large_string()))
    return Folded(text, places)


def _buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of large strings, and where each string begins in them and the last one ends."""
    _, offsets, data = texts.buffers()
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.frombuffer(b" ", np.uint8)
    if not len(texts):
        return text, np.zeros(1, np.int64)
    places = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return text[places[0] : places[-1]], places - places[0]


def _column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    return _whole(column.cast(kind))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array; what is one already is not copied, as `combine_chunks` would."""
    if column.num_chunks == 1:
        return column.chunk(0)
    array = column.combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
