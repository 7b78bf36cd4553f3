"""A user's rows in the lake: found in all files of all versions, taken out of the newest one and of the history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from stages import census, collect
from stages.arrivals import OFFSET
from stages.erase import AS_USUAL, let_go
from stages.forgetting.found import Found
from stages.forgetting.traces import Traces, forget_common, theirs
from thumbwheel import forgotten
from thumbwheel.fingerprint import plain_schema
from thumbwheel.lake import TablePin, read_pin, read_table, uri, write_table
from thumbwheel.settings import settings
from thumbwheel.versions import FINGERPRINT

if TYPE_CHECKING:
    from deltalake import DeltaTable

MARKS = (forgotten.TABLE, census.TABLE)
"""Tables that hold keyed marks alone, which are to stay."""
KEYS = {collect.TABLE: ("event_id",), collect.QUARANTINE_TABLE: ("source", "line", "row")}
"""What tells the rows of the tables that are merged into, and not written whole."""


def table_names() -> list[str]:
    """Return the lake's tables; those that feedback comes from last, for by them all others are known."""
    files, lake = _lake()
    names = (
        (entry.rstrip("/").rsplit("/", 1)[-1] for entry in files.ls(lake, detail=False)) if files.exists(lake) else ()
    )
    return sorted((name for name in names if name not in MARKS), key=lambda name: (name in KEYS, name))


def gather(traces: Traces) -> None:
    """Follow the user through all tables: what bears their hash leads to conversations, these to what came of them."""
    known = -1
    while traces.size > known:
        known = traces.size
        for rows in _all_files():
            for row in rows.filter(theirs(rows, traces)).to_pylist():
                traces.note(row)
    for rows in _all_files():
        forget_common(traces, rows.filter(pc.invert(theirs(rows, traces))))


def held(name: str, traces: Traces) -> int:
    """Return how many of the user's rows stand in all files of a table, each counted in every file."""
    return sum(pc.sum(theirs(rows, traces)).as_py() or 0 for _, rows in _files(name))


def clear(traces: Traces, erase: bool) -> Iterator[Found]:
    """Take the user out of every table that holds rows of theirs in some version."""
    for name in table_names():
        if count := held(name, traces):
            if erase:
                clear_table(name, traces)
            yield Found("lake", name, count)


def clear_table(name: str, traces: Traces) -> None:
    """Write a table without the user, and let go of every version that had them, log and all."""
    from deltalake import DeltaTable

    table = DeltaTable(uri(name))
    rows = read_table(TablePin(table=name, version=table.version(), rows=0, fingerprint=""))
    mine = theirs(rows, traces)
    if pc.any(mine).as_py():
        if any(FINGERPRINT in commit for commit in table.history()):
            write_table(name, rows.filter(pc.invert(mine)), again=True)
        else:
            _delete(table, rows.filter(mine), KEYS.get(name, ("event_id",)))
    let_go(name, DeltaTable(uri(name)).version())
    _remove_unnamed(name, traces)


def stale_pins() -> list[str]:
    """Return the stages whose pins name a version that is no longer there."""
    stages = [path.stem for path in sorted(settings().pins.glob("*.json"))] if settings().pins.exists() else []
    return [stage for stage in stages if not all(_is_there(pin) for pin in read_pin(stage).tables.values())]


def _delete(table: DeltaTable, rows: pa.Table, key: tuple[str, ...]) -> None:
    """Delete rows by their key.

    A commit behind the deletions lets the log of them go, for it names the rows. It says again how far the outbox was
    read, which the log that goes had said.
    """
    from deltalake import CommitProperties

    said = next((commit[OFFSET] for commit in table.history() if OFFSET in commit), None)
    properties = CommitProperties(custom_metadata={OFFSET: said} if said else {})
    for row in rows.select(list(key)).to_pylist():
        predicate = " AND ".join(f"{name} = {_literal(value)}" for name, value in row.items())
        table.delete(predicate)
    table.alter.set_table_properties(AS_USUAL, commit_properties=properties)


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _remove_unnamed(name: str, traces: Traces) -> None:
    """Remove files with the user's rows that no version names, such as a killed writer leaves."""
    from deltalake import DeltaTable

    files, _ = _lake()
    named = {uri_.rsplit("/", 1)[-1] for uri_ in DeltaTable(uri(name)).file_uris()}
    for path, rows in _files(name):
        if path.rsplit("/", 1)[-1] not in named and pc.any(theirs(rows, traces)).as_py():
            files.rm(path)


def _is_there(pin: TablePin) -> bool:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(uri(pin.table), version=pin.version)
    except (DeltaError, OSError):
        return False
    files, _ = _lake()
    return all(files.exists(path) for path in table.file_uris())


def _all_files() -> Iterator[pa.Table]:
    for name in table_names():
        yield from (rows for _, rows in _files(name))


def _files(name: str) -> Iterator[tuple[str, pa.Table]]:
    """Yield each Parquet file of a table, of whatever version, with its rows."""
    import pyarrow.parquet as pq

    files, lake = _lake()
    for path in sorted(files.find(f"{lake}/{name}")):
        if path.endswith(".parquet") and "/_delta_log/" not in path:
            with files.open(path) as file:
                rows = pq.read_table(file)
            yield path, rows.cast(plain_schema(rows.schema))


def _lake() -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    files, path = url_to_fs(settings().lake.rstrip("/"))
    files.invalidate_cache()  # Delta writes past this file system
    return files, path
