"""Lines of JSON by whole columns: of those that are flat, plain and of one shape, all conversations at once.

What is taken here is what `stages.reading.plain` and `stages.reading.formats` would take, and is taken as they would; a
line that is not plain is left to them. It pays for long files, for the import of numba takes as long as some 30 MB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from stages.reading.containers import Record, parse
from stages.reading.flat_lines import NOTHING, OTHER, SLACK, TEXT, find_ends, read_flat
from stages.reading.fold_rows import LISTED, PLAIN, SIZE, fold_rows
from stages.reading.letters import GROWTH, letters
from stages.reading.messages import TURNS
from stages.reading.plain import FRAME, TOLD, Turn, turn_of
from thumbwheel.records import MESSAGE

PIECE = 2 << 20
"""Bytes of whole lines that are looked at together; a line may be longer."""
HEX_DIGITS = 64
"""Of an identity."""
ROOM_FOR_ENDS = 1 << 14
"""Lines of a piece, at first guess."""
LOOKED_AT = 8
"""Lines of which one must tell the shape of all in a piece."""
ASKED_AT_ONCE = 4096
"""Letters beyond ASCII that are learnt together."""
HEADS = [len(role).to_bytes(SIZE, "big") + role.encode() + bytes(SIZE) for role in TURNS]
"""What stands before the text of each turn in what its conversation's identity hashes; the last is the text's size."""


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
    """Conversations of two turns each: the rows where they stood, ids, and the contents of all turns in a row."""

    rows: np.ndarray
    ids: pa.Array
    contents: pa.Array

    def others(self, lines: Lines) -> list[int]:
        """Return those of the lines that are not among the rows."""
        are_others = np.ones(len(lines.starts), np.bool_)
        are_others[self.rows - lines.row] = False
        return np.flatnonzero(are_others).tolist()

    def messages(self) -> pa.Array:
        count = len(self.rows)
        roles = pa.DictionaryArray.from_arrays(np.tile(np.arange(2, dtype=np.int8), count), list(TURNS))
        turns = pa.StructArray.from_arrays([roles.dictionary_decode(), self.contents], fields=list(MESSAGE))
        return pa.ListArray.from_arrays(pa.array(np.arange(0, 2 * count + 1, 2, dtype=np.int32)), turns)


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


def plain_columns(lines: Lines, format: str, max_characters: int) -> Columns | None:
    """Return the conversations of those lines that are plain, of the shape of the first that may be."""
    found = (_shape(lines.line(place), format) for place in range(min(len(lines.starts), LOOKED_AT)))
    if (shape := next(filter(None, found), None)) is None:
        return None
    fits, texts, text_at = _texts(lines, *shape)
    laid, laid_at, characters, flags = _laid_out(np.frombuffer(texts, np.uint8), text_at)
    flags = flags.reshape(-1, 2)
    are_good = ((flags & PLAIN) != 0).all(axis=1) & ((flags[:, 0] & LISTED) == 0)
    are_good &= characters.reshape(-1, 2).sum(axis=1) <= max_characters
    are_good[(np.searchsorted(text_at, _framed(texts, int(text_at[-1])), side="right") - 1) // 2] = False
    rows = lines.row + np.flatnonzero(fits)
    contents = pa.StringArray.from_buffers(len(text_at) - 1, pa.py_buffer(text_at), pa.py_buffer(texts))
    if not are_good.all():
        contents = contents.filter(pa.array(np.repeat(are_good, 2)))
    return Columns(rows[are_good], _ids(laid, laid_at, np.flatnonzero(are_good)), contents)


def _shape(line: bytes, format: str) -> tuple[tuple[str, ...], Turn] | None:
    """Return the keys of a line and where its turn stands, if it is such that others like it may be plain."""
    value = parse(line)
    keys = tuple(value) if isinstance(value, dict) else ()
    turn = turn_of(keys, format) if TOLD.isdisjoint(keys) and all(map(str.isascii, keys)) else None
    return None if turn is None or keys.index(turn.asked) > keys.index(turn.answered) else (keys, turn)


def _texts(lines: Lines, keys: Sequence[str], turn: Turn) -> tuple[np.ndarray, bytearray, np.ndarray]:
    """Return which lines fit, and the texts of those that do with the places where each ends."""
    names = [orjson.dumps(key) for key in keys]
    kinds = [TEXT if key in turn[:2] else NOTHING if key in turn.more else OTHER for key in keys]
    texts, text_at = bytearray(int(lines.ends[-1]) + SLACK), np.zeros(2 * len(lines.starts) + 1, np.int32)
    fits = np.zeros(len(lines.starts), np.bool_)
    count = read_flat(
        lines.data,
        lines.starts,
        lines.ends,
        np.frombuffer(b"".join(names), np.uint8),
        np.cumsum([0, *map(len, names)]),
        np.array(kinds),
        np.frombuffer(texts, np.uint8),
        text_at,
        fits,
    )
    return fits, texts, text_at[: count + 1]


def _laid_out(texts: np.ndarray, text_at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return conversations as their identities hash them, where each ends, and of each text characters and flags."""
    known, count = letters(), len(text_at) - 1
    heads, head_at = np.frombuffer(b"".join(HEADS), np.uint8), np.cumsum([0, *map(len, HEADS)])
    out = np.empty(GROWTH * (int(text_at[-1]) + SLACK) + count * int(head_at.max()), np.uint8)
    out_at, characters, flags = np.zeros(count // 2 + 1, np.int64), np.zeros(count, np.int64), np.zeros(count, np.uint8)
    unknown = np.zeros(ASKED_AT_ONCE, np.int64)
    while True:
        table = (known.kinds, known.at, known.folded)
        asked = fold_rows(texts, text_at, 2, heads, head_at, *table, out, out_at, characters, flags, unknown)
        if not asked:
            return out, out_at, characters, flags
        known.learn(unknown[:asked].tolist())


def _framed(texts: bytearray, end: int) -> list[int]:
    """Return places before `end` at which Alpaca's frame may stand."""
    places, place = [], texts.find(FRAME, 0, end)
    while place >= 0:
        places.append(place)
        place = texts.find(FRAME, place + 1, end)
    return places


def _ids(laid: np.ndarray, at: np.ndarray, rows: np.ndarray) -> pa.Array:
    """Return the identities of some rows of what is laid out."""
    data = laid.data
    spans = zip(at[rows].tolist(), at[rows + 1].tolist(), strict=True)
    said = b"".join([hashlib.sha256(data[start:end]).digest() for start, end in spans]).hex().encode()
    ends = np.arange(0, len(said) + 1, HEX_DIGITS, np.int32)
    return pa.StringArray.from_buffers(len(rows), pa.py_buffer(ends), pa.py_buffer(said))
