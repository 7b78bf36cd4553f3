"""Containers of records, each read as a stream: JSONL, JSON arrays, CSV and Parquet, in flat memory.

A container says how records are cut out of bytes; what a record means is `stages.reading.formats`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import orjson

ROWS_AT_ONCE = 1024
BYTES_AT_ONCE = 8 << 20
HANDFUL = 32
"""Records that are looked at together: so many that a look at each costs little, so few that most are all plain."""
HANDFUL_BYTES = 1 << 20
"""A handful ends where so many bytes are reached, so that the memory it takes depends on no number of rows."""
BLANK = re.compile(r"\s*")
WINDOW = 1 << 20
"""Characters of a JSON array that are looked at together; a record may be longer."""
DECODER = json.JSONDecoder()
TAIL = 16
"""Within so many characters of a window's end, what looks like an error may be a record that was cut off."""
INTEGERS = 2.0**63
"""From here on orjson may have made a float of an integer."""
MAY_HOLD_FLOATS = frozenset((float, dict))
UNREADABLE = (ArithmeticError, LookupError, ValueError)
"""What Arrow raises for a value that it holds and Python does not."""


class Fault(NamedTuple):
    """A record that could not be cut out: why (one of `messages.REASONS`), and its text as far as it can be shown."""

    reason: str
    detail: str
    text: str


class Record(NamedTuple):
    """A record and where it stood: `row` counts records from 0; in JSONL it is the line, blank lines included.

    `size` is about how many bytes it took, as far as its container tells.
    """

    row: int
    value: Any
    size: int = 0


def handfuls(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield records a handful at a time: `HANDFUL` of them, or fewer if they are large."""
    handful, size = [], 0
    for record in records:
        handful.append(record)
        size += record.size
        if len(handful) == HANDFUL or size >= HANDFUL_BYTES:
            yield handful
            handful, size = [], 0
    if handful:
        yield handful


def read_lines(stream: Iterable[bytes], first: int = 0) -> Iterator[Record]:
    """One JSON value a line; a line that is none is a `Fault`, and the lines after it still count."""
    for row, line in enumerate(stream, first):
        value = parse(line)
        if type(value) is not Fault or not line.isspace():
            yield Record(row, value, len(line))


def parse(line: bytes) -> Any:
    """Return the value of one line as `json.loads` does, or a `Fault`.

    orjson is strict where `json` is not (NaN, a lone surrogate, a mark of byte order, depth), so what it refuses is
    asked again; and it makes a float of an integer beyond 64 bits, which a user's number must not become.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _parse_leniently(line)
    if type(value) is dict and not MAY_HOLD_FLOATS.isdisjoint(map(type, value.values())) and _holds_beyond(value):
        return _parse_leniently(line)
    return value


def _holds_beyond(record: dict[str, Any]) -> bool:
    """Tell whether a record, or an object in it, holds what may have been an integer beyond 64 bits, under any name."""
    waiting: list[Any] = [record]
    while waiting:
        inner = waiting.pop()
        if type(inner) is float and abs(inner) >= INTEGERS:
            return True
        waiting += inner.values() if type(inner) is dict else ()
    return False


def _parse_leniently(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Fault("encoding", f"not UTF-8: {error.reason} at byte {error.start}", line.decode(errors="replace"))
    except (ValueError, RecursionError) as error:
        return Fault("json", str(error), line.decode("utf-8-sig").strip())


def read_json(stream: IO[bytes]) -> Iterator[Record]:
    """One array of records, or one record a line.

    Raises:
        ValueError: it is neither, or the array is broken or cut off.
    """
    row, head = _first_line(stream)
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        yield from _array(head, stream)
        return
    if not head.endswith(b"\n"):
        head += stream.readline()
    if not head or isinstance(parse(head), Fault):
        raise ValueError("a JSON file must hold one array of records, or one record a line")
    yield Record(row, parse(head), len(head))
    yield from read_lines(stream, row + 1)


def read_csv(stream: IO[bytes]) -> Iterator[Record]:
    """Rows by the names in the heading; a row that is no UTF-8, or has more cells than the heading, is a `Fault`.

    Raises:
        csv.Error: the marks of quotation do not match; says at which line.
    """
    csv.field_size_limit(1 << 30)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.DictReader(text, strict=True)
    try:
        for row, item in enumerate(rows):
            yield Record(row, _cells(item), _size(item))
    except csv.Error as error:
        raise csv.Error(f"line {rows.reader.line_num}: {error}") from None


def _size(item: dict[Any, Any]) -> int:
    """Return how many characters, and cells without a name, a row of a CSV holds."""
    return sum([len(cell) for cell in item.values() if cell])


def _cells(item: dict[Any, Any]) -> dict[str, Any] | Fault:
    """Return a row of a CSV, unless a comma without quotation marks, or bytes that are no text, have broken it."""
    more = item.pop(None, ())
    shown = json.dumps({**item, "": more} if more else item)
    try:
        "".join(value or "" for value in (*item.values(), *more)).encode()
    except UnicodeEncodeError:
        return Fault("encoding", "not UTF-8", shown)
    if any(more):
        return Fault("shape", f"{len(item) + len(more)} cells under a heading of {len(item)}", shown)
    return item


def read_parquet(stream: IO[bytes]) -> Iterator[Record]:
    """Rows of one row group after the other, each read through a small buffer."""
    import pyarrow.parquet as pq

    with _seekable(stream) as whole:
        file = pq.ParquetFile(whole, buffer_size=WINDOW, pre_buffer=False)
        row = 0
        for batch in file.iter_batches(_rows_at_once(file.metadata), use_threads=False):
            for item in rows_of(batch):
                yield Record(row, item, batch.nbytes // batch.num_rows)
                row += 1


def rows_of(batch: Any) -> list[Any]:
    """Return the rows of an Arrow batch; one with a value that Python has not, such as a far-off date, is a `Fault`."""
    try:
        return list(batch.to_pylist())
    except UNREADABLE:
        return [_row_of(batch.slice(place, 1)) for place in range(batch.num_rows)]


def _row_of(row: Any) -> Any:
    values, wrong = {}, []
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            values[name] = column.to_pylist()[0]
        except UNREADABLE as error:
            wrong.append((error, f"{name} cannot be read: {error}"))
    if not wrong:
        return values
    is_text = any(isinstance(error, UnicodeDecodeError) for error, _ in wrong)
    shown = json.dumps(values, ensure_ascii=False, default=str)
    return Fault("encoding" if is_text else "content_type", "; ".join(said for _, said in wrong), shown)


def _rows_at_once(metadata: Any) -> int:
    """Return how many rows to read together, so that rows of any size take a few megabytes."""
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    return max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE * max(metadata.num_rows, 1) // max(size, 1)))


def _first_line(stream: IO[bytes]) -> tuple[int, bytes]:
    """Return the first line that is not blank and its number; no more than `WINDOW` bytes of it."""
    row = 0
    while line := stream.readline(WINDOW):
        if line.strip():
            return row, line
        row += line.endswith(b"\n")
    return row, b""


def _array(head: bytes, stream: IO[bytes]) -> Iterator[Record]:
    """Yield the items of an array while its text comes in; an item that is not whole yet waits for more of it."""
    text = _Text(head, stream)
    place = text.skip(text.text.index("[") + 1)
    row = 0
    while text.text[place : place + 1] != "]":
        value, size, place = text.item(place)
        yield Record(row, value, size)
        row += 1
        if text.text[place] == ",":
            place = text.skip(place + 1)
            if text.text[place : place + 1] == "]":
                raise ValueError(f"after record {row} of the array a comma leads nowhere")
        elif text.text[place] != "]":
            raise ValueError(f"after record {row} of the array there is no comma")
        place = text.forget(place)
    if text.text[text.skip(place + 1) :]:
        raise ValueError("there is more behind the array")


class _Text:
    """A window on the text of a stream: grows at its end as it is asked for more, and forgets what was read."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._stream, self._ended = stream, False
        self.text = self._decoder.decode(head)

    def item(self, place: int) -> tuple[Any, int, int]:
        """Return the value at `place`, the characters it took, and the place of what follows behind it.

        A value that ends where the window ends is read again with more of it, for a number may go on.
        """
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, place)
                if end > len(self.text) - TAIL and self._grow():
                    continue
                if (behind := self.skip(end)) < len(self.text):
                    return value, end - place, behind
                raise ValueError("the array is cut off")
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated string") or error.pos > len(self.text) - TAIL
                if not (cut_off and self._grow()):
                    raise
            except RecursionError:
                raise ValueError("a record is nested too deep") from None

    def skip(self, place: int) -> int:
        """Return the place of the next character that is not blank, if there is one."""
        while True:
            place = BLANK.match(self.text, place).end()  # type: ignore[union-attr]
            if place < len(self.text) or not self._grow():
                return place

    def forget(self, place: int) -> int:
        """Drop what stands before `place`, now and then, and return where it is now."""
        if place < WINDOW:
            return place
        self.text = self.text[place:]
        return 0

    def _grow(self) -> bool:
        """Add as much text as there is, for a record of any length is then read in linear time."""
        if self._ended:
            return False
        data = self._stream.read(max(WINDOW, len(self.text)))
        self._ended = not data
        self.text += self._decoder.decode(data, final=self._ended)
        return True


@contextmanager
def _seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the stream, or a file with what it holds, where going back in it is dear or cannot be done."""
    if stream.seekable() and not isinstance(stream, gzip.GzipFile):
        yield stream
        return
    with tempfile.TemporaryFile() as whole:
        shutil.copyfileobj(stream, whole, WINDOW)
        whole.seek(0)
        yield whole
