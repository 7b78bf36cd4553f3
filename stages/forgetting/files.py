"""A user in files: lines of logs are struck out, copies of reports removed, rows taken out of sources.

Files are searched for the user's name, hashes and ids as words, and for what they said, line by line.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.forgetting.found import Found
from stages.forgetting.traces import TOKEN, Traces
from stages.ingest import IngestParams
from stages.reading.containers import parse
from stages.reading.intake import Intake, users_of
from stages.reading.sources import MENDED, Source, list_files, read
from thumbwheel.errors import SourceError
from thumbwheel.params import read_params
from thumbwheel.scheduler import home
from thumbwheel.settings import settings

MOST = 64 << 20
"""Bytes of a copy that is searched; larger ones are weights."""
CACHES = ("ingest", "dedup")
"""Folders of the state folder that hold rows for the sake of speed, folded or not, and may go at any time."""
LINES = (".jsonl", ".ndjson")


class Search:
    """Looks for one user in bytes."""

    def __init__(self, traces: Traces) -> None:
        self._names, self._raw, self._passages = traces.names(), traces.raw_name(), sorted(traces.passages())

    def finds(self, content: bytes) -> bool:
        """Tell whether the user is in it, by a name or by what they said; blanks may have been folded."""
        if self._raw.search(content) or not self._names.isdisjoint(TOKEN.findall(content)):
            return True
        folded = b" ".join(content.split())
        return any(passage in content or b" ".join(passage.split()) in folded for passage in self._passages)


def strike(traces: Traces, erase: bool) -> Iterator[Found]:
    """Strike out lines of logs in place, byte for byte, since whoever writes them may still have them open."""
    search = Search(traces)
    for path in _files(settings().state_dir / "logs", home() / "logs"):
        lines = path.read_bytes().splitlines(keepends=True)
        bad = [place for place, line in enumerate(lines) if search.finds(line)]
        if bad:
            if erase:
                _overwrite(path, lines, bad)
            yield Found("logs", str(_named(path)), len(bad))


def remove_copies(traces: Traces, erase: bool) -> Iterator[Found]:
    """Remove reports, and what DVC keeps of them; the next turn writes them anew."""
    place, search = settings(), Search(traces)
    folders = (("reports", place.reports), ("queue", place.queue.parent), ("dvc cache", place.root / ".dvc" / "cache"))
    for name, folder in folders:
        for path in _files(folder):
            if path.stat().st_size <= MOST and search.finds(path.read_bytes()):
                if erase:
                    path.chmod(0o644)
                    path.unlink()
                yield Found(name, str(_named(path)), 1)


def remove_caches(traces: Traces, erase: bool) -> Iterator[Found]:
    """Remove what stages keep of rows for the sake of speed."""
    for name in CACHES:
        folder = settings().state_dir / name
        if traces.size and folder.exists():
            if erase:
                shutil.rmtree(folder)
            yield Found("caches", str(_named(folder)), 1)


def cut_sources(traces: Traces, erase: bool) -> Iterator[Found]:
    """Take rows out of local files of one row a line: sources, mended rows and files of events."""
    for path in sorted(local_files()):
        if path.suffix in LINES:
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if not owned(parse(line), traces)]
            if len(kept) < len(lines):
                if erase:
                    _replace(path, b"".join(kept))
                yield Found("sources", str(_named(path)), len(lines) - len(kept))


def local_files() -> set[Path]:
    """Return the files that rows and events are read from and that lie under the root."""
    params = read_params(settings().root / "params.yaml")
    uris = [source["uri"] for source in (params.get("ingest") or {}).get("sources", ())]
    uris += (params.get("collect") or {}).get("files", ())
    patterns = [uri for uri in uris if "://" not in uri and not Path(uri).is_absolute()]
    found = {path for pattern in patterns for path in settings().root.glob(pattern)}
    found |= {inner for path in found if path.is_dir() for inner in path.rglob("*")}
    return {path for path in found | set((settings().root / MENDED).glob("*")) if path.is_file()}


def note_sources(traces: Traces) -> None:
    """Take in which rows came of records that the user has a part in, whoever else has, from sources under the root."""
    params = read_params(settings().root / "params.yaml").get("ingest")
    if not params:
        return
    asked = IngestParams.model_validate(params)
    for source in asked.sources:
        for file in _local(source):
            mine = (record for record in read(file) if owned(record.value, traces))
            for tables in Intake(source, str(file["uri"]), asked.of_rows()).take(mine):
                for name in ("conversations", "preferences"):
                    for row in tables[name].to_pylist() if name in tables else ():
                        traces.rows.add(row["id"])
                        traces.note(row)


def _local(source: Source) -> Iterator[Mapping[str, Any]]:
    """Yield the files of a source that lie under the root; none where it is elsewhere, or gone."""
    try:
        yield from (file for file in list_files(source) if "://" not in str(file["uri"]))
    except SourceError:
        return


def owned(value: Any, traces: Traces) -> bool:
    """Tell whether a row, or a message of a tree, is of the user."""
    return not traces.users.isdisjoint(users_of(value, traces.salt))


def left(traces: Traces) -> list[str]:
    """Return the files under the data and state folders, and of the sources, that still hold the user."""
    place, search = settings(), Search(traces)
    folders = (place.root / "data", place.state_dir, place.root / ".dvc" / "cache")
    paths = {path for path in _files(*folders) if path.stat().st_size <= MOST} | local_files()
    return sorted(str(_named(path)) for path in paths if search.finds(_content(path)))


def _content(path: Path) -> bytes:
    """Return what a file holds, the rows of a Parquet file as text."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    import pyarrow.parquet as pq

    return repr(pq.read_table(path).to_pylist()).encode("utf-8", "surrogatepass")


def _overwrite(path: Path, lines: Iterable[bytes], bad: Iterable[int]) -> None:
    places = set(bad)
    with path.open("r+b") as file:
        for place, line in enumerate(lines):
            if place in places:
                text = line.rstrip(b"\r\n")
                file.write(b"-" * len(text))
                file.seek(len(line) - len(text), 1)
            else:
                file.seek(len(line), 1)


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _named(path: Path) -> Path:
    root = settings().root
    return path.relative_to(root) if path.is_relative_to(root) else path
