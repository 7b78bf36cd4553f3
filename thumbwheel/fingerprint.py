"""The fingerprint of a table: its schema and its rows in their order, whatever the files, chunks and offsets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from thumbwheel.errors import RecordError


class Fingerprint:
    """A digest that is fed batch by batch.

    Every leaf of every column (validity, lengths, values) is a stream of bytes with a SHA-256 of its own. Streams run
    on from batch to batch, so that nothing depends on where one batch ends; what a null hides is never fed.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = plain_schema(schema)
        self._streams: dict[str, Any] = {}

    def update(self, batch: pa.RecordBatch) -> None:
        """Take in the next rows.

        Raises:
            RecordError: a column has a type that no table of ours has.
        """
        for place, column in enumerate(batch.columns):
            self._take(str(place), column)

    def hexdigest(self) -> str:
        """Return the fingerprint of schema and rows so far: 64 hex digits."""
        said = [f"{field.name}: {field.type}" for field in self._schema]
        said += [f"{place} {stream.hexdigest()}" for place, stream in sorted(self._streams.items())]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()

    def _take(self, place: str, array: pa.Array) -> None:
        kind = array.type
        if pa.types.is_dictionary(kind):
            return self._take(place, array.dictionary_decode())
        self._feed(f"{place}?", _validity(array))
        if pa.types.is_struct(kind):
            for child, values in enumerate(array.flatten()):
                self._take(f"{place}.{child}", values)
        elif _is_list(kind):
            self._feed(f"{place}#", _lengths(array))
            self._take(f"{place}*", array.flatten())
        elif _is_text(kind):
            self._take_text(place, array)
        elif not pa.types.is_null(kind):
            self._feed(f"{place}=", _fixed(array))
        return None

    def _take_text(self, place: str, array: pa.Array) -> None:
        import numpy as np

        if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
            array = array.cast(pa.large_binary())
        if array.null_count:
            is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
            array = array.fill_null("" if is_text else b"")
        _, offsets, data = array.buffers()
        width = np.int64 if _is_large(array.type) else np.int32
        ends = (
            np.frombuffer(offsets, width, len(array) + 1, array.offset * np.dtype(width).itemsize) if offsets else [0]
        )
        self._feed(f"{place}#", np.diff(ends).astype(np.int64))
        if data is not None:
            self._feed(f"{place}=", memoryview(data)[int(ends[0]) : int(ends[-1])])

    def _feed(self, place: str, data: Any) -> None:
        if place not in self._streams:
            self._streams[place] = hashlib.sha256()
        self._streams[place].update(data)


def fingerprint(table: pa.Table) -> str:
    """Return the fingerprint of a whole table."""
    return fingerprint_of(table.schema, table.to_batches())


def fingerprint_of(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> str:
    """Return the fingerprint of batches of one schema."""
    digest = Fingerprint(schema)
    for batch in batches:
        digest.update(batch)
    return digest.hexdigest()


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema with the plain types for the view and large ones that a reader may choose, and no metadata."""
    return pa.schema([pa.field(field.name, _plain_type(field.type)) for field in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if _is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain_type(field.type)) for field in kind])
    return kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_fixed_size_list(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    """Tell whether a type is text or bytes of any length."""
    plain = _plain_type(kind)
    return bool(pa.types.is_string(plain) or pa.types.is_binary(plain))


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))


def _validity(array: pa.Array) -> Any:
    """Return one byte a row: 1 where there is a value."""
    import numpy as np

    if array.null_count == 0:
        return np.ones(len(array), np.uint8)
    return array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False)


def _lengths(array: pa.Array) -> Any:
    import pyarrow.compute as pc

    return pc.list_value_length(array).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)


def _fixed(array: pa.Array) -> Any:
    """Return the values of a type of fixed width, nulls as zeros, byte for byte."""
    import numpy as np

    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    try:
        width = array.type.byte_width
        values = np.frombuffer(array.buffers()[1] or b"", np.uint8, len(array) * width, array.offset * width)
    except (ValueError, AttributeError):
        raise RecordError(f"a table cannot hold a column of type {array.type}; cast it to a plain type.") from None
    return values if array.null_count == 0 else (values.reshape(-1, width) * _validity(array)[:, None]).ravel()
