"""The versions of one Delta table: commit one from parts, find one by its content, read one in order."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from thumbwheel.fingerprint import plain_schema
from thumbwheel.parts import BATCH_ROWS, Part

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow.dataset import Dataset

FINGERPRINT = "thumbwheel.fingerprint"
PARTS = "thumbwheel.parts"
"""Keys in a commit's metadata: the content's mark, and the names of its files in the order of their rows."""
KEPT_FOR_EVER = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}
"""A pin may be of any age, so the log that leads to its version is never cleared away."""
ATTEMPTS = 12


def commit(uri: str, schema: pa.Schema, parts: Sequence[Part], mark: str, again: bool = False) -> int:
    """Make `parts` the newest version, unless one holds them, and return its number; overtaken, try again.

    With `again` they become the newest even where an older version holds them.
    """
    from deltalake.exceptions import CommitFailedError, DeltaError

    for attempt in range(ATTEMPTS):
        table, commits = _snapshot(uri)
        if not again and (held := _version_of(commits, mark)) is not None:
            return held
        try:
            _commit_once(uri, table, schema, parts, mark)
        except (CommitFailedError, DeltaError) as error:
            overtaken = isinstance(error, CommitFailedError) or "already exists" in str(error)
            if not overtaken or attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
    version = _version_of(_snapshot(uri)[1], mark)
    assert version is not None, f"the version just written to {uri} is gone"
    return version


def _commit_once(uri: str, table: DeltaTable | None, schema: pa.Schema, parts: Sequence[Part], mark: str) -> None:
    from deltalake import CommitProperties, Schema
    from deltalake.transaction import create_table_with_add_actions

    said = {FINGERPRINT: mark, PARTS: " ".join(part.name for part in parts)}
    commit = CommitProperties(custom_metadata=said, max_commit_retries=0)
    delta_schema = Schema.from_arrow(schema)
    if table is None:
        added = [part.added() for part in parts]
        create_table_with_add_actions(uri, delta_schema, added, configuration=KEPT_FOR_EVER, commit_properties=commit)
    else:
        mode, actions = _difference(table, schema, parts)
        table.create_write_transaction(actions, mode, delta_schema, commit_properties=commit)


def _difference(table: DeltaTable, schema: pa.Schema, parts: Sequence[Part]) -> tuple[str, list[Any]]:
    """Return how to come from what the table holds to `parts`; parts in both stay as they are."""
    from deltalake.transaction import RemoveAction

    if not plain_schema(pa.schema(table.schema().to_arrow())).equals(schema):
        return "overwrite", [part.added() for part in parts]
    held = set(pa.table(table.get_add_actions(flatten=True))["path"].to_pylist())
    now, names = int(time.time() * 1000), {part.name for part in parts}
    removed = [RemoveAction(path, True, now) for path in sorted(held - names)]
    return "append", [*(part.added() for part in parts if part.name not in held), *removed]


def _version_of(commits: Sequence[dict[str, Any]], mark: str) -> int | None:
    return next((int(commit["version"]) for commit in commits if commit.get(FINGERPRINT) == mark), None)


def part_names(uri: str, version: int) -> list[str]:
    """Return the files of a version in the order of their rows; none where another writer made the version."""
    found = next((commit for commit in _snapshot(uri)[1] if commit["version"] == version), {})
    return str(found.get(PARTS, "")).split()


def _snapshot(uri: str) -> tuple[DeltaTable | None, list[dict[str, Any]]]:
    """Return a table at its newest version, and what the log says of every commit up to it, newest first.

    delta-rs counts commits back from the version that it loaded, and counts wrongly where a newer one has come since;
    so that none came is made sure of. What is committed on the snapshot fails if one comes later.
    """
    while (table := open_table(uri)) is not None:
        commits = table.history()
        if (now := open_table(uri)) is not None and now.version() == table.version():
            return table, commits
    return None, []


def open_table(uri: str) -> DeltaTable | None:
    """Return a table at its newest version; None where there is none."""
    from deltalake import DeltaTable

    return DeltaTable(uri) if DeltaTable.is_deltatable(uri) else None


def ordered(table: DeltaTable, names: Sequence[str] = ()) -> Dataset:
    """Return a Delta table's rows in one order for ever: that of `names`, its files, or else by the files' names.

    Raises:
        DeltaError: the table uses a feature that the reader does not know.
    """
    import pyarrow.dataset as ds

    found = table.to_pyarrow_dataset(schema=plain_schema(pa.schema(table.schema().to_arrow())))
    place = {name: number for number, name in enumerate(names)}
    fragments = sorted(found.get_fragments(), key=lambda f: (place.get(Path(f.path).name, len(place)), f.path))
    return ds.FileSystemDataset(fragments, found.schema, found.format, found.filesystem)


def scan(rows: Dataset, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a dataset in order, reading no further ahead than it must."""
    scanner = rows.scanner(columns=list(columns), batch_size=BATCH_ROWS, batch_readahead=1, fragment_readahead=1)
    yield from scanner.to_batches()
