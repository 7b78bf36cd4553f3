"""Erase what was there before scrubbing: the raw tables, what was kept of them, old versions of the scrubbed ones.

    python -m stages.erase          # says what would go
    python -m stages.erase --yes    # lets it go

What `dedup` shares with other writers on a Redis goes as well, and all sentence vectors, for some are of raw text: both
are made anew as they are needed.

No stage of the graph but a task for when personal data has to be gone for good. It breaks time travel, and nothing
else: pins of `ingest`, `dedup` and `pairs` can be read no more, nor earlier versions of what `scrub` and later stages
wrote; the versions that are pinned now stay. The next turn that has to run `ingest` reads all sources again, so take
what is to be forgotten out of them first. Feedback events, chat history and sources are not touched: they are where
data comes from, and each has its own way to delete.
"""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbwheel.command import run
from thumbwheel.errors import PinError, StoreError
from thumbwheel.lake import TablePin, read_pin, uri
from thumbwheel.settings import settings
from thumbwheel.versions import KEPT_FOR_EVER

if TYPE_CHECKING:
    from deltalake import DeltaTable

log = logging.getLogger(__name__)

RAW_STAGES = ("ingest", "dedup", "pairs")
"""Stages whose tables hold what people wrote as they wrote it."""
RAW_TABLES = ("quarantine",)
"""Tables that do so under a name of their own."""
RAW_CACHES = ("ingest", "dedup", "vectors.db", "vectors.db-wal", "vectors.db-shm")
"""Of the state folder, where stages keep unscrubbed text, or its sentence vectors, from one run to the next."""
SCANNED = 1000
"""Keys of Redis that are looked for, or deleted, at once."""
CLEAN_STAGES = ("scrub", "grade", "split")
AT_ONCE = {
    "delta.logRetentionDuration": "interval 0 seconds",
    "delta.deletedFileRetentionDuration": "interval 0 seconds",
}
AS_USUAL = {**KEPT_FOR_EVER, "delta.deletedFileRetentionDuration": "interval 1 week"}
"""The lake's retention; short only while old versions are let go."""


def raw_tables() -> list[str]:
    """Return the names of all tables in the lake that hold unscrubbed text, whatever run they are of."""
    files, lake = _lake()
    names = (
        (entry.rstrip("/").rsplit("/", 1)[-1] for entry in files.ls(lake, detail=False)) if files.exists(lake) else ()
    )
    return sorted(n for n in names if n in RAW_TABLES or n.startswith(tuple(f"{stage}_" for stage in RAW_STAGES)))


def raw_caches() -> list[Path]:
    """Return the folders and files that hold unscrubbed text for the sake of speed alone."""
    return [path for name in RAW_CACHES if (path := settings().state_dir / name).exists()]


def shared_text(erase: bool = False) -> int:
    """Return how many entries of `dedup`'s index a shared Redis holds, folded text among them; delete them if asked.

    Raises:
        StoreError: `THUMBWHEEL_REDIS_URL` names a Redis that does not answer, or is no address of one.
    """
    if (url := settings().redis_url) is None:
        return 0
    from redis import Redis, RedisError

    from stages.duplicates.dedup_redis import PREFIX

    try:
        with Redis.from_url(url) as redis:
            keys = list(redis.scan_iter(f"{PREFIX}:*", count=SCANNED))
            for begin in range(0, len(keys) if erase else 0, SCANNED):
                redis.unlink(*keys[begin : begin + SCANNED])
    except (RedisError, ValueError) as error:  # the address is not shown, for it may hold a password
        raise StoreError(f"THUMBWHEEL_REDIS_URL: the index of dedup cannot be reached ({error}).") from None
    return len(keys)


def clean_tables() -> list[TablePin]:
    """Return the tables that hold scrubbed text, as they are pinned.

    Raises:
        PinError: `scrub` has not run; without its tables nothing would be left.
    """
    pins = [read_pin(CLEAN_STAGES[0])]
    for stage in CLEAN_STAGES[1:]:
        try:
            pins.append(read_pin(stage))
        except PinError:
            continue  # a later stage that has not run has nothing to keep
    return [table for pin in pins for table in pin.tables.values()]


def older_versions(pin: TablePin) -> int:
    """Return how many versions before the pinned one the lake still knows."""
    return sum(commit["version"] < pin.version for commit in _table(pin).history())


def forget_older(pin: TablePin) -> bool:
    """Delete files and log of all versions before the pinned one; False where the pinned one is not the newest.

    Such a table has newer content that nothing points at, and to delete around it would leave versions without files:
    run the turn again, so that the newest content is the pinned one.
    """
    table = _table(pin)
    if any(commit["version"] > pin.version and commit["operation"] == "WRITE" for commit in table.history()):
        return False
    let_go(pin.table, pin.version)
    return True


def let_go(name: str, version: int) -> None:
    """Delete files and log of all versions of a table before `version`."""
    from deltalake import DeltaTable

    DeltaTable(uri(name), version=version).create_checkpoint()
    table = DeltaTable(uri(name))
    table.alter.set_table_properties(AT_ONCE)
    table = DeltaTable(uri(name))
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    table.cleanup_metadata()
    table.alter.set_table_properties(AS_USUAL)


def drop(name: str) -> None:
    """Delete a table: files, log and all."""
    files, lake = _lake()
    files.rm(f"{lake}/{name}", recursive=True)


def main() -> None:
    """Say what would go; with `--yes`, let it go."""
    clean, raw = [pin for pin in clean_tables() if older_versions(pin)], raw_tables()
    print(f"raw tables: {', '.join(raw) or 'none'}")
    print(f"kept raw text: {', '.join(map(str, raw_caches())) or 'none'}; on the shared Redis: {shared_text()} entries")
    for pin in clean:
        print(f"{pin.table}: {older_versions(pin)} versions before the pinned {pin.version}")
    if "--yes" not in sys.argv[1:]:
        print("nothing was erased; do it with: python -m stages.erase --yes")
        return
    for pin in clean:
        if not forget_older(pin):
            log.warning(
                "%s is pinned behind its newest version and was left; run the turn again, then erase", pin.table
            )
    for name in raw:
        drop(name)
    for path in raw_caches():
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)  # SQLite may have, at its end
    shared_text(erase=True)
    print(f"erased {len(raw)} raw tables and the old versions of {len(clean)} scrubbed ones")


def _table(pin: TablePin) -> DeltaTable:
    from deltalake import DeltaTable

    return DeltaTable(uri(pin.table))


def _lake() -> tuple[Any, str]:
    """Return the file system that holds the lake, and the lake's path on it."""
    from fsspec.core import url_to_fs

    files, path = url_to_fs(settings().lake.rstrip("/"))
    return files, path


if __name__ == "__main__":
    run(main)
