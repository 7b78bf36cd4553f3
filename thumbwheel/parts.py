"""The Parquet files of the lake: rows cut into parts that are named by their content, and written once.

A part that a table holds already is not written again, so that a version costs no more than what is new in it, and a
writer that was killed finds on its second try what it had written on its first.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from thumbwheel.fingerprint import Fingerprint, fingerprint_of

if TYPE_CHECKING:
    from deltalake.transaction import AddAction

BATCH_ROWS = 8192
PART_BYTES = 32 << 20
"""Of Arrow memory; the most that a writer holds at once."""
ODDS = 8
"""One batch in so many may end a part early, by its content alone."""


@dataclass(frozen=True)
class Part:
    """One file of a table: its name, which is its content's, and how many rows and bytes it has."""

    name: str
    rows: int
    size: int

    def added(self) -> AddAction:
        """Return the part as Delta's log has it."""
        from deltalake.transaction import AddAction

        return AddAction(self.name, self.size, {}, int(time.time() * 1000), True, json.dumps({"numRecords": self.rows}))


def write_parts(uri: str, rows: pa.RecordBatchReader, total: Fingerprint) -> list[Part]:
    """Write what `rows` yields into the folder or prefix `uri`, and return its parts in their order.

    There is always one, if an empty one; `total` is fed every row on the way.
    """
    parts: list[Part] = []
    for batches in cut(_small(rows), rows.schema):
        for batch in batches:
            total.update(batch)
        mark = fingerprint_of(rows.schema, batches) if parts else total.hexdigest()  # which is the first part's as well
        name = _name(mark, {part.name for part in parts})
        parts.append(_write(uri, name, pa.Table.from_batches(batches, rows.schema)))
    return parts


def cut(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[list[pa.RecordBatch]]:
    """Cut batches into parts of up to `PART_BYTES`, where the content says so.

    As a cut depends on the last row alone, parts after a change come to the same cuts again (content-defined chunking,
    as in Muthitacharoen et al., "A low-bandwidth network file system", 2001), and are found to be there already.
    """
    part: list[pa.RecordBatch] = []
    size, yielded = 0, False
    for batch in batches:
        part.append(batch)
        size += batch.nbytes
        if size >= PART_BYTES or (size >= PART_BYTES // 4 and _ends_part(batch)):
            yield part
            part, size, yielded = [], 0, True
    if part or not yielded:
        yield part


def _small(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


def _ends_part(batch: pa.RecordBatch) -> bool:
    return int(fingerprint_of(batch.schema, [batch.slice(batch.num_rows - 1)]), 16) % ODDS == 0


def _write(uri: str, name: str, table: pa.Table) -> Part:
    size = _size_of(uri, name)
    return Part(name, table.num_rows, _put(uri, name, table) if size is None else size)


def _name(mark: str, taken: set[str]) -> str:
    """Return the file name of a part; where one table holds the same part twice, the second has another name."""
    names = (f"{mark[:32]}{f'-{number}' if number else ''}.parquet" for number in range(len(taken) + 1))
    return next(name for name in names if name not in taken)


def _encode(table: pa.Table, sink: pa.NativeFile) -> int:
    """Write a table as a Parquet file, and return its bytes; the same rows always give the same ones."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(sink, table.schema, compression="zstd", compression_level=1) as writer:
        for start in range(0, table.num_rows, BATCH_ROWS):  # where the pages are cut must not depend on the batches
            for batch in table.slice(start, BATCH_ROWS).combine_chunks().to_batches():
                writer.write_batch(batch)
    return int(sink.tell())


def _put(uri: str, name: str, table: pa.Table) -> int:
    """Write a part whole or not at all, and return its size in bytes."""
    if uri.startswith("s3://"):
        buffer = pa.BufferOutputStream()
        size = _encode(table, buffer)
        _s3().pipe_file(f"{uri}/{name}", buffer.getvalue().to_pybytes())
        return size
    folder = Path(uri)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.{os.getpid()}-{threading.get_ident()}.part"
    with pa.OSFile(str(part), "wb") as sink:
        size = _encode(table, sink)
    part.replace(folder / name)
    return size


def _size_of(uri: str, name: str) -> int | None:
    try:
        return int(_s3().size(f"{uri}/{name}") if uri.startswith("s3://") else (Path(uri) / name).stat().st_size)
    except FileNotFoundError:
        return None


def _s3() -> Any:
    import s3fs

    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
