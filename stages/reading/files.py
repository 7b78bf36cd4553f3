"""Source files, here or on S3: find them, mark their content, and read their records one by one.

Containers are those of `stages.reading.containers`, plain, gzip or zstd; text is UTF-8, or UTF-16 with its mark.
"""

from __future__ import annotations

import csv
import glob
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from stages.reading.containers import Fault, Record, read_csv, read_json, read_lines, read_parquet
from stages.reading.digests import digest_of
from stages.reading.utf16 import in_utf8
from thumbwheel.errors import SourceError
from thumbwheel.settings import settings

__all__ = ["Fault", "Record"]

COMPRESSIONS = (".gz", ".zst")


def find_files(uri: str, is_wanted: Callable[[str], bool] | None = None) -> list[dict[str, Any]]:
    """Return the files that `uri` names, sorted: `uri`, `size` and `sha256` (here) or `etag` (on S3).

    `uri` is a file, a folder or a glob, relative to the root, or `s3://bucket/key`, with a glob or a prefix. Of a
    folder come the files whose name `is_wanted`; unless given, those of a known container.

    Raises:
        SourceError: nothing is there.
    """
    found = (_list_remote if is_remote(uri) else _list_local)(uri, is_wanted or is_known)
    if not found:
        raise SourceError(f"source '{uri}' matches no file; correct its uri in params.yaml or put the file there.")
    return found


READERS = {
    ".jsonl": read_lines,
    ".ndjson": read_lines,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
}


def read_records(uri: str) -> Iterator[Record]:
    """Yield every record of a file; `value` is a `Fault` where a line could not be read.

    Raises:
        SourceError: the file is missing or corrupt as a whole, or its container is not known.
    """
    with named_damage(uri), open_file(uri) as stream:
        read = READERS[container_of(uri)]
        yield from read(stream if read is read_parquet else in_utf8(stream))


@contextmanager
def named_damage(uri: str) -> Iterator[None]:
    """Turn what goes wrong while a file is read into a `SourceError` that names it."""
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(f"file '{uri}' is missing; put it there or correct its uri in params.yaml.") from None
    except _damage() as error:
        raise SourceError(f"file '{uri}' is corrupt ({error}); restore it, or remove it from params.yaml.") from None


def container_of(uri: str) -> str:
    """Return the container's suffix, such as `.jsonl`.

    Raises:
        SourceError: the suffix is not one of `READERS`, with or without one of `COMPRESSIONS`.
    """
    path = Path(uri.lower())
    suffix = Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
    if suffix not in READERS:
        raise SourceError(
            f"file '{uri}' is of no known container; known: {' '.join(READERS)}, "
            f"also with {' or '.join(COMPRESSIONS)} behind."
        )
    return suffix


def is_remote(uri: str) -> bool:
    return uri.startswith("s3://")


@contextmanager
def open_file(uri: str) -> Iterator[IO[bytes]]:
    """Open a file, here or on S3, for reading its decompressed bytes."""
    with _open_raw(uri) as raw:
        if uri.lower().endswith(".gz"):
            with gzip.open(raw) as stream:
                yield stream  # type: ignore[misc]
        elif uri.lower().endswith(".zst"):
            yield io.BufferedReader(_Zstd(raw), 1 << 16)
        else:
            yield raw


class _Zstd(io.RawIOBase):
    """Decompressed zstd frames. A stream that ends inside a frame raises; the library's own reader ends silently."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._ready, self._frame = raw, memoryview(b""), self._new_frame()
        self._inside = False

    @staticmethod
    def _new_frame() -> Any:
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not len(self._ready):
            chunk = self._frame.unused_data if self._frame.eof else b""
            if not (chunk := chunk or self._raw.read(1 << 16)):
                break
            self._feed(chunk)
        if not len(self._ready) and self._inside:
            raise EOFError("the compressed stream ends in the middle")
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _feed(self, chunk: bytes) -> None:
        if self._frame.eof:
            self._frame = self._new_frame()
        self._ready = memoryview(self._frame.decompress(chunk))
        self._inside = not self._frame.eof


def _open_raw(uri: str) -> IO[bytes]:
    if is_remote(uri):
        return _s3().open(uri, "rb")  # type: ignore[no-any-return]
    return (settings().root / uri).open("rb")


def _list_local(uri: str, is_wanted: Callable[[str], bool]) -> list[dict[str, Any]]:
    root = settings().root
    path = root / uri
    if path.is_dir():
        paths = [p for p in path.rglob("*") if p.is_file() and is_wanted(p.name)]
    elif path.is_file():
        paths = [path]
    else:
        names = glob.glob(uri, root_dir=root, recursive=True)
        paths = [found for name in names if (found := root / name).is_file()]
    return [_mark_local(p, root) for p in sorted(paths)]


def _mark_local(path: Path, root: Path) -> dict[str, Any]:
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    if any("\ud800" <= c <= "\udfff" for c in name):
        raise SourceError(f"file {name!r}: its name is not UTF-8, so no list can hold it; give it another.")
    return {"uri": name, "size": path.stat().st_size, "sha256": digest_of(path)}


def _list_remote(uri: str, is_wanted: Callable[[str], bool]) -> list[dict[str, Any]]:
    from botocore.exceptions import BotoCoreError

    try:
        api = _s3()
        is_glob = any(c in uri for c in "*?[") and not api.isfile(uri)
        names = api.glob(uri) if is_glob else api.find(uri)
        infos = [api.info(name) for name in sorted(names)]
    except (OSError, BotoCoreError) as error:
        raise SourceError(
            f"source '{uri}' cannot be listed ({error}); see the bucket, AWS_ENDPOINT_URL and the keys."
        ) from None
    exact = [i for i in infos if i["type"] == "file" and (f"s3://{i['name']}" == uri or is_wanted(i["name"]))]
    return [{"uri": f"s3://{i['name']}", "size": i["size"], "etag": i["ETag"].strip('"')} for i in exact]


def _s3() -> Any:
    import s3fs

    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


def is_known(name: str) -> bool:
    try:
        return bool(container_of(name))
    except SourceError:
        return False


def _damage() -> tuple[type[Exception], ...]:
    import pyarrow as pa
    import zstandard

    return (OSError, EOFError, ValueError, csv.Error, zlib.error, pa.ArrowException, zstandard.ZstdError)
