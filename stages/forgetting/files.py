"""A user in files: lines of logs are struck out, copies of reports removed, rows taken out of sources.

Files are searched for the user's name, hashes and ids as words, and for what they said, line by line.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from glob import escape
from pathlib import Path
from typing import Any

from stages.forgetting.found import Found
from stages.forgetting.traces import TOKEN, Traces
from stages.ingest import IngestParams
from stages.reading.containers import parse, rows_of
from stages.reading.fields import users_of
from stages.reading.intake import Intake
from stages.reading.naming import AS_THEY_ARE, Naming
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
USERS = ("user", "user_id")
WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]{3,}")


class Search:
    """Looks for one user in bytes.

    A passage is looked for only where its longest inner word stands, which is found for all of them at once.
    """

    def __init__(self, traces: Traces) -> None:
        self._names, self._raw = traces.names(), traces.raw_name()
        self._passages: dict[bytes | None, list[bytes]] = {}
        for passage in sorted(traces.passages()):
            self._passages.setdefault(anchor(passage), []).append(passage)

    def finds(self, content: bytes) -> bool:
        """Tell whether the user is in it, by a name or by what they said; blanks may have been folded."""
        if self._raw.search(content) or not self._names.isdisjoint(TOKEN.findall(content)):
            return True
        near = [p for word in self._passages.keys() & {None, *WORD.findall(content)} for p in self._passages[word]]
        folded = b" ".join(content.split()) if near else b""
        return any(passage in content or b" ".join(passage.split()) in folded for passage in near)


def anchor(passage: bytes) -> bytes | None:
    """Return the longest word of a passage that nothing around it can lengthen, or None."""
    inner = [match.group() for match in WORD.finditer(passage) if match.start() > 0 and match.end() < len(passage)]
    return max(inner, key=len, default=None)


def strike(traces: Traces, erase: bool) -> Iterator[Found]:
    """Strike out lines of logs in place, byte for byte, since whoever writes them may still have them open."""
    search = Search(traces)
    for path in _files(settings().state_dir / "logs", home() / "logs"):
        content = path.read_bytes()
        lines = content.splitlines(keepends=True) if search.finds(content) else []
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
    for path, namings in sorted(local_files().items()):
        if path.suffix in LINES and (gone := _cut(path, namings, traces, erase)):
            yield Found("sources", str(_named(path)), gone)


def _cut(path: Path, namings: Collection[Naming], traces: Traces, erase: bool) -> int:
    """Return how many rows of a file are the user's by any naming; take them out of it, whole or not at all."""

    def is_theirs(line: bytes) -> bool:
        value = parse(line)
        return any(owned(naming.of(value), traces) for naming in namings)

    with path.open("rb") as file:
        gone = sum(map(is_theirs, file))
    if erase and gone:
        part = path.with_name(f".{path.name}.part")
        with path.open("rb") as file, part.open("wb") as kept:
            kept.writelines(line for line in file if not is_theirs(line))
        part.replace(path)
    return gone


def local_files() -> dict[Path, set[Naming]]:
    """Return the files that rows and events are read from and that lie under the root, and how each is read."""
    params = read_params(settings().root / "params.yaml")
    read_as = [(uri, AS_THEY_ARE) for uri in (params.get("collect") or {}).get("files", ())]
    read_as.append((f"{MENDED}/*", AS_THEY_ARE))
    for source in (params.get("ingest") or {}).get("sources", ()):
        naming = Naming(tuple(source.get("columns", {}).items()))
        read_as += [(source["uri"], naming), (f"{MENDED}/{escape(source['name'])}.jsonl", naming)]
    found: dict[Path, set[Naming]] = {}
    for uri, naming in read_as:
        for path in _files_under_root(uri):
            found.setdefault(path, set()).add(naming)
    return found


def user_columns() -> frozenset[str]:
    """Return what sources call the column of their users, as it stands in a row."""
    sources = (read_params(settings().root / "params.yaml").get("ingest") or {}).get("sources", ())
    named = (source.get("columns", {}).get(ours) for source in sources for ours in USERS)
    return frozenset(column.rpartition(".")[2] for column in named if column)


def _files_under_root(uri: str) -> Iterator[Path]:
    if "://" not in uri and not Path(uri).is_absolute():
        for path in settings().root.glob(uri):
            yield from filter(Path.is_file, path.rglob("*") if path.is_dir() else [path])


def note_sources(traces: Traces) -> None:
    """Take in which rows came of records that the user has a part in, whoever else has, from sources under the root."""
    params = read_params(settings().root / "params.yaml").get("ingest")
    if not params:
        return
    asked = IngestParams.model_validate(params)
    for source in asked.sources:
        for file in _local(source):
            mine = (record for record in read(file) if owned(source.naming.of(record.value), traces))
            for tables in Intake(source, str(file["uri"]), asked.of_rows()).take(mine):
                for name in ("conversations", "preferences"):
                    for row in tables[name].to_pylist() if name in tables else ():
                        traces.rows.add(row["id"])
                        traces.note(row)


def _local(source: Source) -> Iterator[Mapping[str, Any]]:
    """Yield the files of a source that lie under the root; none where it is elsewhere, or gone."""
    try:
        yield from list_files(source) if "://" not in source.uri else ()
    except SourceError:
        return


def owned(value: Any, traces: Traces) -> bool:
    """Tell whether a row, or a message of a tree, is of the user."""
    return not traces.users.isdisjoint(users_of(value, traces.salt))


def left(traces: Traces) -> list[str]:
    """Return the files under the data and state folders, and of the sources, that still hold the user."""
    place, search = settings(), Search(traces)
    folders = (place.root / "data", place.state_dir, place.root / ".dvc" / "cache")
    paths = {path for path in _files(*folders) if path.stat().st_size <= MOST} | local_files().keys()
    return sorted(str(_named(path)) for path in paths if search.finds(_content(path)))


def _content(path: Path) -> bytes:
    """Return what a file holds, the rows of a Parquet file as text."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    import pyarrow.parquet as pq

    rows = [rows_of(batch) for batch in pq.read_table(path).to_batches()]
    return repr(rows).encode("utf-8", "surrogatepass")


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


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _named(path: Path) -> Path:
    root = settings().root
    return path.relative_to(root) if path.is_relative_to(root) else path
