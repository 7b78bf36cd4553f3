"""Fold columns of text to the bytes by which rows are compared: `stages.duplicates.words.fold`, a column at a time.

A kernel folds what it can by the table of `stages.duplicates.alphabet`; the rows it cannot, it hands to the definition.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numba import njit

from stages.duplicates.alphabet import GROWTH, LETTER, MARK, SEPARATOR, SINGLE, Alphabet, alphabet, ascii_alphabet
from stages.duplicates.words import END, PART, fold

T = TypeVar("T")
LOCAL = threading.local()
SPACE, END_BYTE = ord(" "), ord(END)
CHUNK = 4 << 20
"""Bytes of text that one thread takes at a time."""


class Documents(NamedTuple):
    """Rows as pieces of one text: row `d` has pieces `at[d]:at[d + 1]`, those of one part together."""

    text: np.ndarray
    """UTF-8 bytes, shape (bytes,)."""
    begins: np.ndarray
    ends: np.ndarray
    """Where a piece begins and ends in `text`, shape (pieces,)."""
    parts: np.ndarray
    """Which of `names` a piece belongs to, shape (pieces,)."""
    at: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.at) - 1


class Folded(NamedTuple):
    """Folded rows: row `d` is `data[at[d]:at[d + 1]]`."""

    data: np.ndarray
    at: np.ndarray

    def __len__(self) -> int:
        return len(self.at) - 1

    def row(self, index: int) -> bytes:
        return self.data[self.at[index] : self.at[index + 1]].tobytes()


def fold_documents(documents: Documents) -> list[Folded]:
    """Return the documents folded, on all cores; they follow one another in the list."""
    letters = alphabet() if documents.text.max(initial=0) > 127 else ascii_alphabet()
    names = [f"{name}{PART}".encode("utf-8", "surrogatepass") for name in documents.names]
    labels = np.frombuffer(b"".join(names), np.uint8)
    label_at = np.cumsum([0, *map(len, names)], dtype=np.int64)

    def some(first: int, last: int) -> Folded:
        return _fold_some(documents, first, last, letters, labels, label_at)

    sizes = np.concatenate(([0], np.cumsum(documents.ends - documents.begins)))[documents.at]
    return over_rows(some, sizes)


def over_rows(work: Callable[[int, int], T], sizes: np.ndarray) -> list[T]:
    """Call `work(first, last)` for ranges of rows of about `CHUNK` bytes, on all cores; return the results in order.

    `sizes` are running sums of the rows' bytes, one more than there are rows.
    """
    cuts = np.searchsorted(sizes, np.arange(sizes[0], sizes[-1], CHUNK))
    bounds = [0, *np.unique(np.append(cuts[cuts > 0], len(sizes) - 1)).tolist()]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(work, bounds[:-1], bounds[1:]))


def joined(some: Sequence[Folded]) -> Folded:
    """Return folded rows one after the other."""
    lengths = np.concatenate([np.zeros(1, np.int64), *(np.diff(folded.at) for folded in some)])
    return Folded(np.concatenate([np.empty(0, np.uint8), *(f.data for f in some)]), np.cumsum(lengths))


def joined_rows(folded: Folded, rows: np.ndarray) -> Folded:
    """Return the rows whose numbers are in `rows`, in that order."""
    at = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(folded.at[rows + 1] - folded.at[rows], out=at[1:])
    some = Folded(np.empty(at[-1], np.uint8), at)
    _copy_rows(folded.data, folded.at, rows, *some)
    return some


def equal_rows(a: Folded, left: np.ndarray, b: Folded, right: np.ndarray) -> np.ndarray:
    """Return whether row `left[i]` of `a` equals row `right[i]` of `b`, byte for byte."""
    same = np.zeros(len(left), np.bool_)
    _equal_rows(*a, left, *b, right, same)
    return same


def _fold_some(
    documents: Documents, first: int, last: int, letters: Alphabet, labels: np.ndarray, label_at: np.ndarray
) -> Folded:
    """Return rows `first` to `last` folded; one kernel call, then what the kernel left to the definition."""
    pieces = slice(documents.at[first], documents.at[last])
    text = int((documents.ends[pieces] - documents.begins[pieces]).sum())
    label = int(np.diff(label_at)[documents.parts[pieces]].sum()) + (pieces.stop - pieces.start)
    out = _scratch(GROWTH * text + label)
    at = np.zeros(last - first + 1, np.int64)
    left = np.zeros(last - first, np.bool_)
    _fold_rows(*documents[:5], first, last, labels, label_at, *letters, out, at, left)
    if left.any():
        return _completed(documents, first, Folded(out, at), np.flatnonzero(left))
    return Folded(out[: at[-1]].copy(), at)


def _scratch(size: int) -> np.ndarray:
    """Return room that the thread's next call uses again: fresh memory costs more than folding the text."""
    room: np.ndarray | None = getattr(LOCAL, "room", None)
    if room is None or len(room) < size:
        room = LOCAL.room = np.empty(max(size, GROWTH * CHUNK), np.uint8)
    return room


def _completed(documents: Documents, first: int, folded: Folded, left: np.ndarray) -> Folded:
    """Return `folded` with the rows in `left`, counted from `first`, put in as the definition folds them."""
    some, done = [], 0
    for row in left.tolist():
        some.append(_rows_of(folded, done, row))
        data = np.frombuffer(fold(row_parts(documents, first + row)), np.uint8)
        some.append(Folded(data, np.array([0, len(data)])))
        done = row + 1
    return joined([*some, _rows_of(folded, done, len(folded))])


def _rows_of(folded: Folded, first: int, last: int) -> Folded:
    at = folded.at[first : last + 1]
    return Folded(folded.data[at[0] : at[-1]], at - at[0])


def row_parts(documents: Documents, row: int) -> list[tuple[str, str]]:
    """Return a row's texts by part, as the definition takes them."""
    texts: dict[int, list[str]] = {}
    for piece in range(documents.at[row], documents.at[row + 1]):
        data = documents.text[documents.begins[piece] : documents.ends[piece]].tobytes()
        texts.setdefault(int(documents.parts[piece]), []).append(_decoded(data))
    return [(documents.names[part], "\n".join(said)) for part, said in texts.items()]


def _decoded(data: bytes) -> str:
    """Return text as a string, lone surrogates as they are, and bytes that are no UTF-8 by their numbers."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "backslashreplace")


@njit(cache=True, nogil=True)
def _copy_rows(source: np.ndarray, source_at: np.ndarray, rows: np.ndarray, out: np.ndarray, at: np.ndarray) -> None:
    for k in range(len(rows)):
        begin = source_at[rows[k]]
        out[at[k] : at[k + 1]] = source[begin : begin + at[k + 1] - at[k]]


@njit(cache=True, nogil=True)
def _equal_rows(
    data: np.ndarray,
    at: np.ndarray,
    left: np.ndarray,
    other: np.ndarray,
    other_at: np.ndarray,
    right: np.ndarray,
    same: np.ndarray,
) -> None:
    for k in range(len(left)):
        i, j = at[left[k]], other_at[right[k]]
        length = at[left[k] + 1] - i
        n = 0
        if length == other_at[right[k] + 1] - j:
            while n < length and data[i + n] == other[j + n]:
                n += 1
            same[k] = n == length


@njit(cache=True, nogil=True)
def _fold_rows(
    text: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    parts: np.ndarray,
    pieces: np.ndarray,
    first: int,
    last: int,
    labels: np.ndarray,
    label_at: np.ndarray,
    plain: np.ndarray,
    letter_at: np.ndarray,
    letters: np.ndarray,
    hard: np.ndarray,
    order: np.ndarray,
    out: np.ndarray,
    at: np.ndarray,
    left: np.ndarray,
) -> None:
    """Write rows `first` to `last` into `out`, where each ends into `at`, and what is left to the definition."""
    n = 0
    for row in range(first, last):
        piece = pieces[row]
        whole = True
        while piece < pieces[row + 1] and whole:
            part = parts[piece]
            for i in range(label_at[part], label_at[part + 1]):
                out[n] = labels[i]
                n += 1
            start = n
            length = 0
            while piece < pieces[row + 1] and parts[piece] == part and whole:
                length += ends[piece] - begins[piece]
                n, whole = _fold_piece(
                    text, begins[piece], ends[piece], start, n, out, plain, letter_at, letters, hard, order
                )
                piece += 1
            whole = whole and (n > start or length == 0)
            out[n] = END_BYTE
            n += 1
        left[row - first] = not whole
        n = n if whole else at[row - first]
        at[row - first + 1] = n


@njit(cache=True, nogil=True)
def _fold_piece(
    text: np.ndarray,
    i: int,
    end: int,
    start: int,
    n: int,
    out: np.ndarray,
    plain: np.ndarray,
    letter_at: np.ndarray,
    letters: np.ndarray,
    hard: np.ndarray,
    order: np.ndarray,
) -> tuple[int, bool]:
    """Fold one piece into `out[n:]`; return where it ends there, and whether the table sufficed.

    `start` is where the words of the part begin.
    """
    before = SEPARATOR
    rank = 0
    while i < end:
        if text[i] < 0x80:
            gap = before != LETTER
            while i < end and text[i] < 0x80:
                letter = plain[text[i]]
                out[n] = SPACE
                n += (letter != 0) & gap & (n > start)
                out[n] = letter
                n += letter != 0
                gap = letter == 0
                i += 1
            before = SEPARATOR if gap else LETTER
            rank = 0
            continue
        code, width = _code_point(text, i, end)
        i += width
        if code < 0 or code >= len(hard) or hard[code] or 0 < order[code] < rank:
            return n, False
        rank = order[code]
        for k in range(letter_at[code], letter_at[code + 1]):
            kind = letters[k] & 3
            if kind == SEPARATOR or (kind == MARK and before == SEPARATOR):
                before = SEPARATOR
                continue
            if kind == SINGLE or (kind == LETTER and before != LETTER):
                if n > start:
                    out[n] = SPACE
                    n += 1
                before = kind
            n = _put(out, n, letters[k] >> 2)
    return n, True


@njit(cache=True, nogil=True)
def _code_point(text: np.ndarray, i: int, end: int) -> tuple[int, int]:
    """Return the code point at `i` and its length in bytes; the code point is -1 where there is no valid one."""
    c = int(text[i])
    if c < 0x80:
        return c, 1
    width = 2 if c < 0xE0 else 3 if c < 0xF0 else 4
    if c < 0xC2 or c > 0xF4 or i + width > end:
        return -1, 1
    code = c & (0x7F >> width)
    for k in range(i + 1, i + width):
        if text[k] & 0xC0 != 0x80:
            return -1, 1
        code = code << 6 | int(text[k] & 0x3F)
    valid = code >= (0x80, 0x800, 0x10000)[width - 2] and not 0xD800 <= code < 0xE000
    return (code if valid else -1), width


@njit(cache=True, nogil=True)
def _put(out: np.ndarray, n: int, code: int) -> int:
    """Write a code point at `out[n]` in UTF-8, and return where it ends."""
    if code < 0x80:
        out[n] = code
        return n + 1
    if code < 0x800:
        out[n] = 0xC0 | code >> 6
        out[n + 1] = 0x80 | code & 0x3F
        return n + 2
    if code < 0x10000:
        out[n] = 0xE0 | code >> 12
        out[n + 1] = 0x80 | code >> 6 & 0x3F
        out[n + 2] = 0x80 | code & 0x3F
        return n + 3
    out[n] = 0xF0 | code >> 18
    out[n + 1] = 0x80 | code >> 12 & 0x3F
    out[n + 2] = 0x80 | code >> 6 & 0x3F
    out[n + 3] = 0x80 | code & 0x3F
    return n + 4
