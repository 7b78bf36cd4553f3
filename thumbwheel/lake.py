"""The lake: Delta tables, and the pins through which a stage hands one on.

A pin (`data/pins/<stage>.json`) names tables by version and content. Writing the same content again makes no new
version, so that a rerun yields the same pin and nothing downstream runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from thumbwheel.errors import PinError, RecordError
from thumbwheel.fingerprint import Fingerprint, fingerprint, plain_schema
from thumbwheel.parts import BATCH_ROWS, write_parts
from thumbwheel.settings import settings
from thumbwheel.versions import commit, open_table, ordered, part_names, scan

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

__all__ = ["fingerprint"]


class TablePin(BaseModel):
    """One table at one version. `table` is relative to the lake, so that moving the lake changes no pin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    version: int
    rows: int
    fingerprint: str


class Pin(BaseModel):
    """What a stage hands on: tables, how many rows it turned away and why, and facts about the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    tables: dict[str, TablePin] = {}
    rejections: dict[str, int] = {}
    facts: dict[str, Any] = {}


def write_table(name: str, rows: pa.Table | pa.RecordBatchReader, again: bool = False) -> TablePin:
    """Make `rows` the newest content of the lake's table `name`, unless some version already holds it.

    A reader is written as it comes, in the memory of one part (`thumbwheel.parts`). Writers at once end as if one came
    after the other. Returns the pin of the version that holds the content, an older one if it stood there before; with
    `again` always the newest, for where older ones are to be let go.

    Raises:
        RecordError: a column has a type that no Delta table has.
    """
    if isinstance(rows, pa.Table):
        rows = pa.RecordBatchReader.from_batches(rows.schema, _batches(rows))
    reader = _storable(rows)
    total = Fingerprint(reader.schema)
    parts = write_parts(uri(name), reader, total)
    mark = total.hexdigest()
    return TablePin(
        table=name,
        version=commit(uri(name), reader.schema, parts, mark, again),
        rows=sum(part.rows for part in parts),
        fingerprint=mark,
    )


def read_table(pin: TablePin, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a table at the pinned version, in the order in which they were written.

    Raises:
        PinError: the lake does not hold that version.
    """
    return read_batches(pin, columns).read_all()


def read_batches(pin: TablePin, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
    """Return the same as a reader that holds little more than a part in memory; opened whole, or not at all.

    Raises:
        PinError: the lake does not hold that version, or, while it is read, a file of it is gone.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(uri(pin.table), version=pin.version)
        rows = ordered(table, part_names(uri(pin.table), pin.version))
        schema = pa.schema([rows.schema.field(name) for name in columns or rows.schema.names])
        return pa.RecordBatchReader.from_batches(schema, _scanned(rows, schema, pin))
    except (DeltaError, OSError) as error:
        raise _absent(pin, error) from None


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with all columns of `schema` first, nulls where it lacks one; columns of its own come behind.

    What was pinned before a column came to a schema can so be read with it, and what is newer is kept.
    """
    columns = {field.name: table[field.name].cast(field.type) for field in schema if field.name in table.column_names}
    for field in schema:
        columns.setdefault(field.name, pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
    more = [name for name in table.column_names if name not in schema.names]
    return pa.table({name: columns[name] for name in schema.names} | {name: table[name] for name in more})


def newest(name: str) -> pa.Table | None:
    """Return the newest rows of a table, or None where there is no such table."""
    if (table := open_table(uri(name))) is None:
        return None
    return read_table(TablePin(table=name, version=table.version(), rows=0, fingerprint=""))


def uri(name: str) -> str:
    """Return the address of a table: a folder, or an `s3://` prefix."""
    return f"{settings().lake.rstrip('/')}/{name}"


def write_pin(pin: Pin) -> Path:
    """Write a stage's pin, whole or not at all; the last thing that a stage does."""
    return write_json(settings().pins / f"{pin.stage}.json", pin.model_dump())


def read_pin(stage: str) -> Pin:
    """Return the pin of a stage.

    Raises:
        PinError: the stage has not run, or its pin is damaged.
    """
    path = settings().pins / f"{stage}.json"
    try:
        return Pin.model_validate_json(path.read_text())
    except FileNotFoundError:
        raise PinError(f"{path} is missing; run the stage first: dvc repro {stage}.") from None
    except ValidationError as error:
        raise PinError(f"{path} is damaged ({error.error_count()} faults); run: dvc repro --force {stage}.") from None


def read_pinned(stage: str, table: str, schema: pa.Schema | None = None) -> pa.Table:
    """Return the rows of table `table` as stage `stage` handed it on, with the columns of `schema` if it is given.

    Raises:
        PinError: the stage has not run, did not write that table, or the lake no longer holds the version.
    """
    rows = read_table(pinned(stage, table))
    return rows if schema is None else conform(rows, schema)


def pinned(stage: str, table: str) -> TablePin:
    """Return the pin of one table of a stage.

    Raises:
        PinError: the stage has not run, or did not write that table.
    """
    pin = read_pin(stage)
    if table not in pin.tables:
        raise PinError(f"stage '{stage}' wrote no table '{table}'; it wrote: {', '.join(pin.tables) or 'none'}.")
    return pin.tables[table]


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """Write JSON to `path`, whole or not at all, with sorted keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")
    part.replace(path)
    return path


def _storable(rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Return rows in the types in which a Delta table gives them back."""
    from deltalake import Schema
    from deltalake.exceptions import DeltaError

    try:
        schema = plain_schema(pa.schema(Schema.from_arrow(plain_schema(rows.schema)).to_arrow()))
    except (DeltaError, ValueError, TypeError) as error:
        raise RecordError(f"the lake cannot hold a table of columns {', '.join(rows.schema.names)}: {error}.") from None
    if schema.equals(rows.schema):
        return rows
    return pa.RecordBatchReader.from_batches(schema, (pa.record_batch(_cast(b, schema), schema=schema) for b in rows))


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> list[pa.Array]:
    return [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]


def _scanned(rows: Dataset, schema: pa.Schema, pin: TablePin) -> Iterator[pa.RecordBatch]:
    try:
        yield from scan(rows, schema.names)
    except OSError as error:
        raise _absent(pin, error) from None


def _batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows in batches that do not depend on its chunks."""
    for start in range(0, table.num_rows, BATCH_ROWS):
        yield from table.slice(start, BATCH_ROWS).combine_chunks().to_batches()


def _absent(pin: TablePin, error: Exception) -> PinError:
    return PinError(
        f"table '{pin.table}' at version {pin.version} is not in the lake {settings().lake} ({error}); "
        f"restore the lake, or make the table again with 'dvc repro --force'."
    )
