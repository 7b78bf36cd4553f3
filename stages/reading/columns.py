"""Lines of JSON by whole columns: of those that are plain and of one shape, all conversations at once.

What is taken here is what `stages.reading.plain` and `stages.reading.formats` would take, and is taken as they would; a
line that is not plain is left to them. The kernels take half a second to load, so that it pays for long files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from stages.reading.containers import Record, parse
from stages.reading.fold_kernel import BRACKETED, HASHED, PLAIN, SIZE, fold_rows
from stages.reading.letters import GROWTH, letters
from stages.reading.line_kernel import SLACK, find_ends, read_lines
from stages.reading.naming import AS_THEY_ARE, Naming
from stages.reading.plain import FRAME
from stages.reading.shapes import ASKED, LOOKED_AT, Shape, shape_among
from thumbwheel.records import MESSAGE, ROLES

PIECE = 4 << 20
"""Bytes of whole lines that are looked at together; a line may be longer."""
HEX_DIGITS = 64
"""Of an identity."""
ROOM_FOR_ENDS = 1 << 14
"""Lines of a piece, at first guess."""
LONGEST = 64 << 20
"""Bytes of a piece, then of a single line, that are taken by columns; record by record it needs less memory."""
SHORTEST = 20
"""Bytes of a message in a list, at least."""
ASKED_AT_ONCE = 4096
"""Letters beyond ASCII that are learnt together."""
HEADS = [len(role).to_bytes(SIZE, "big") + role.encode() + bytes(SIZE) for role in ROLES]
"""What stands before a text of each role in what its conversation's identity hashes; the last is the text's size."""


class Lines(NamedTuple):
    """Whole lines: UTF-8 bytes with `SLACK` zeros behind them, where each line starts and ends, and the first's row."""

    data: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    row: int

    def line(self, place: int) -> bytes:
        """Return a line with the mark of its end, if it has one."""
        end = self.ends[place]
        return self.data[self.starts[place] : end + (self.data[end] == ord("\n"))].tobytes()

    def records(self, places: Iterable[int]) -> Iterator[Record]:
        """Yield the records of some lines, but for blank ones."""
        for place in places:
            line = self.line(place)
            if line.strip():
                yield Record(self.row + place, parse(line), len(line))


class Columns(NamedTuple):
    """Conversations: the rows where they stood, ids, and messages as their table has them."""

    rows: np.ndarray
    ids: pa.Array
    messages: pa.Array

    def others(self, lines: Lines) -> list[int]:
        """Return those of the lines that are not among the rows."""
        are_others = np.ones(len(lines.starts), np.bool_)
        are_others[self.rows - lines.row] = False
        return np.flatnonzero(are_others).tolist()

    def texts(self) -> list[list[str]]:
        """Return the contents of the messages of each conversation."""
        contents = self.messages.flatten().field("content")
        return pa.ListArray.from_arrays(self.messages.offsets, contents).to_pylist()  # type: ignore[no-any-return]


class Messages(NamedTuple):
    """Messages one after the other: their UTF-8, where each text ends, whose it is, and where each row ends."""

    texts: bytearray
    text_at: np.ndarray
    roles: np.ndarray
    row_at: np.ndarray

    def array(self) -> pa.Array:
        """Return them as a column of the table of conversations."""
        contents = pa.StringArray.from_buffers(len(self.roles), pa.py_buffer(self.text_at), pa.py_buffer(self.texts))
        roles = pa.DictionaryArray.from_arrays(self.roles, list(ROLES)).dictionary_decode()
        return pa.ListArray.from_arrays(
            pa.array(self.row_at), pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGE))
        )

    def framed(self, rows: np.ndarray) -> list[int]:
        """Return those of some rows in which Alpaca's frame may stand."""
        spans = zip(
            rows.tolist(), *(self.text_at[self.row_at[ends]].tolist() for ends in (rows, rows + 1)), strict=True
        )
        return [row for row, start, end in spans if self.texts.find(FRAME, start, end) >= 0]


def read_pieces(path: Path, start: int, end: int, row: int) -> Iterator[Lines]:
    """Yield the lines between two places of a file at which lines start, piece by piece, from `row` on.

    A piece is good until the next is asked for: its memory is used again.
    """
    room, wanted = np.zeros(PIECE + SLACK, np.uint8), PIECE
    with path.open("rb") as file:
        while start < end:
            file.seek(start)
            count = file.readinto(room.data[: min(wanted, end - start)])
            ends = _ends(room, count, start + count == end)
            if not count or (len(ends) == 0 and count < min(wanted, end - start)):
                return  # the file is shorter than it was, which whoever reads it is told by its digest
            if len(ends) == 0:
                wanted *= 2
                room = np.zeros(max(len(room), wanted + SLACK), np.uint8)
                continue
            room[count : count + SLACK] = 0
            yield Lines(room, np.append(0, ends[:-1] + 1), ends, row)
            start, row, wanted = start + int(ends[-1]) + 1, row + len(ends), PIECE
            room = room if len(room) == PIECE + SLACK else np.zeros(PIECE + SLACK, np.uint8)


def _ends(data: np.ndarray, count: int, is_last: bool) -> np.ndarray:
    """Return where lines end in the first bytes of `data`; the last of a file may do so without a mark."""
    ends = np.empty(ROOM_FOR_ENDS, np.int64)
    if (found := find_ends(data, count, ends)) > len(ends):
        ends = np.empty(found, np.int64)
        find_ends(data, count, ends)
    if is_last and count and data[count - 1] != ord("\n"):
        return np.append(ends[:found], count)
    return ends[:found]


def plain_columns(lines: Lines, format: str, max_characters: int, naming: Naming = AS_THEY_ARE) -> Columns | None:
    """Return the conversations of those lines that are plain, of the shape of the first that has one."""
    shape = shape_among(map(lines.line, range(min(len(lines.starts), LOOKED_AT))), format, naming)
    if shape is None or lines.ends[-1] > LONGEST:
        return None
    fits, messages = _read(lines, shape)
    laid, laid_at, characters, flags = _laid_out(messages)
    are_good = ((flags & PLAIN) != 0) & (characters <= max_characters)
    if ASKED in shape.kinds:
        are_good &= (flags & BRACKETED) == 0
        are_good[messages.framed(np.flatnonzero(flags & HASHED))] = False
    rows, found = lines.row + np.flatnonzero(fits), messages.array()
    if not are_good.all():
        rows, found = rows[are_good], found.filter(pa.array(are_good))
    return Columns(rows, _ids(laid, laid_at, np.flatnonzero(are_good)), found)


def _read(lines: Lines, shape: Shape) -> tuple[np.ndarray, Messages]:
    """Return which lines fit, and the messages of those that do."""
    count, size = len(lines.starts), int(lines.ends[-1])
    most = 2 * count + size // SHORTEST + 1
    texts, text_at, roles = bytearray(size + SLACK), np.zeros(most + 1, np.int32), np.zeros(most, np.int8)
    fits, row_at = np.zeros(count, np.bool_), np.zeros(count + 1, np.int32)
    rows = read_lines(
        *(lines.data, lines.starts, lines.ends),
        *(*_joined(shape.words), np.array(shape.kinds), np.array([role for _, role in shape.senders], np.int64)),
        *(np.frombuffer(texts, np.uint8), text_at, roles, row_at, fits),
    )
    found = int(row_at[rows])
    return fits, Messages(texts, text_at[: found + 1], roles[:found], row_at[: rows + 1])


def _joined(words: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return words one after the other, and where each ends."""
    return np.frombuffer(b"".join(words), np.uint8), np.cumsum([0, *map(len, words)], dtype=np.int64)


def _laid_out(messages: Messages) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return conversations as their identities hash them, where each ends, and its characters and flags."""
    known, count = letters(), len(messages.row_at) - 1
    room = GROWTH * (int(messages.text_at[-1]) + SLACK) + len(messages.roles) * max(map(len, HEADS))
    out, out_at = np.empty(room, np.uint8), np.zeros(count + 1, np.int64)
    characters, flags, unknown = np.zeros(count, np.int64), np.zeros(count, np.uint8), np.zeros(ASKED_AT_ONCE, np.int64)
    done = 0
    while True:
        asked, done = fold_rows(
            *(np.frombuffer(messages.texts, np.uint8), *messages[1:], *_joined(HEADS)),
            *(known.kinds, known.at, known.folded, out, out_at, characters, flags, unknown, done),
        )
        if not asked:
            return out, out_at, characters, flags
        known.learn(unknown[:asked].tolist())


def _ids(laid: np.ndarray, at: np.ndarray, rows: np.ndarray) -> pa.Array:
    """Return the identities of some rows of what is laid out."""
    data = laid.data
    spans = zip(at[rows].tolist(), at[rows + 1].tolist(), strict=True)
    said = b"".join([hashlib.sha256(data[start:end]).digest() for start, end in spans]).hex().encode()
    ends = np.arange(0, len(said) + 1, HEX_DIGITS, np.int32)
    return pa.StringArray.from_buffers(len(rows), pa.py_buffer(ends), pa.py_buffer(said))
