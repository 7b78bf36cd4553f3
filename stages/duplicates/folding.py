"""Fold columns of text to the bytes by which rows are compared: `stages.duplicates.words.fold`, a column at a time.

A kernel folds what it can by the table of `stages.duplicates.alphabet`; the rows it cannot, it hands to the definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numba import njit

from stages.duplicates.alphabet import GROWTH, LETTER, MARK, SEPARATOR, SINGLE, Alphabet, alphabet, ascii_alphabet
from stages.duplicates.rows import NO_ROWS, Folded, fresh, joined, on_all_cores, row_ranges, running
from stages.duplicates.vectors import LINE, ascii_words, beyond_ascii, bits_in, copy_letters, first_bit
from stages.duplicates.words import END, PART, fold

SPACE, END_BYTE = ord(" "), ord(END)
NOTHING, ONE, EVERY_BIT = np.uint64(0), np.uint64(1), np.uint64(2**64 - 1)


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


def fold_documents(lots: Sequence[Documents]) -> Folded:
    """Return lots of documents folded, one after another, on all cores.

    Each range of rows is folded into room of its own, and all is then moved together: copies would cost as much again.
    """
    ranges = [(lot, *some) for lot in lots for some in row_ranges(_sizes(lot))]
    rooms, strange = np.array([_room_of(*some) for some in ranges], np.int64).reshape(-1, 2).T
    data = fresh((rooms.sum(),), np.uint8, filled=True)
    some = np.split(data, np.cumsum(rooms))
    letters = alphabet() if strange.any() else ascii_alphabet()

    def fold_range(k: int) -> list[Folded]:
        return _fold_range(*ranges[k], letters, some[k])

    return _together(data, [*chain.from_iterable(on_all_cores(fold_range, range(len(ranges)))), NO_ROWS])


def _room_of(documents: Documents, first: int, last: int) -> tuple[int, int]:
    """Return how many bytes rows `first` to `last` become, at most, with what is written beyond, and see `_room`."""
    room, strange = _room(*documents[:4], *documents.at[[first, last]], _labels(documents.names)[1])
    return room + LINE, strange


def _sizes(documents: Documents) -> np.ndarray:
    """Return the running sums of the rows' bytes."""
    return np.concatenate(([0], np.cumsum(documents.ends - documents.begins)))[documents.at]


def _labels(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return what stands before the words of each part, one after another, and where each begins."""
    labels = [f"{name}{PART}".encode("utf-8", "surrogatepass") for name in names]
    return np.frombuffer(b"".join(labels), np.uint8), np.cumsum([0, *map(len, labels)], dtype=np.int64)


def _fold_range(documents: Documents, first: int, last: int, letters: Alphabet, out: np.ndarray) -> list[Folded]:
    """Return rows `first` to `last` folded into `out`; one kernel call, then what the kernel left to the definition."""
    at = np.zeros(last - first + 1, np.int64)
    left = np.zeros(last - first, np.bool_)
    _fold_rows(*documents[:5], first, last, *_labels(documents.names), *letters, out, at, left)
    return _completed(documents, first, Folded(out, at), np.flatnonzero(left))


def _together(data: np.ndarray, some: Sequence[Folded]) -> Folded:
    """Return folded rows one after another, moved to the front of `data`, in which they lie one after another.

    A few may lie elsewhere: those that were left to the definition.
    """
    ends = np.cumsum([len(folded.data) for folded in some])
    begins = np.append(0, ends[:-1])
    places = np.array([folded.data.ctypes.data - data.ctypes.data for folded in some])
    in_the_way = (places >= 0) & (places < begins)
    if in_the_way.any():  # the definition made too much of a text
        return joined(some)
    for folded, begin, end in zip(some, begins.tolist(), ends.tolist(), strict=True):
        data[begin:end] = folded.data
    return Folded(data[: ends[-1]], running(some))


def _completed(documents: Documents, first: int, folded: Folded, left: np.ndarray) -> list[Folded]:
    """Return `folded` in pieces, the rows in `left`, counted from `first`, as the definition folds them."""
    some, done = [], 0
    for row in left.tolist():
        some.append(_rows_of(folded, done, row))
        data = np.frombuffer(fold(row_parts(documents, first + row)), np.uint8)
        some.append(Folded(data, np.array([0, len(data)])))
        done = row + 1
    return [*some, _rows_of(folded, done, len(folded))]


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
def _room(
    text: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    parts: np.ndarray,
    first: int,
    last: int,
    label_at: np.ndarray,
) -> tuple[int, int]:
    """Return how many bytes the pieces `first` to `last` become, at most, by the table, and how many are no ASCII."""
    room, strange = 0, 0
    for piece in range(first, last):
        strange += _count_beyond_ascii(text, begins[piece], ends[piece])
        room += ends[piece] - begins[piece] + label_at[parts[piece] + 1] - label_at[parts[piece]] + 1
    return room + (GROWTH - 1) * strange, strange


@njit(cache=True, nogil=True)
def _count_beyond_ascii(text: np.ndarray, i: int, end: int) -> int:
    count = 0
    while i + LINE <= end:
        count += bits_in(beyond_ascii(text, i))
        i += LINE
    for k in range(i, end):
        count += text[k] > 0x7F
    return count


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
            n -= n > start and out[n - 1] == SPACE
            whole = whole and (n > start or length == 0)
            out[n] = END_BYTE
            n += 1
        left[row - first] = not whole
        if not whole:
            n = at[row - first] + _room(text, begins, ends, parts, pieces[row], pieces[row + 1], label_at)[0]
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
            if before != LETTER:
                n = _parted(out, start, n)
            i, n, goes_on = _fold_ascii(text, i, end, before == LETTER, plain, out, n)
            before = LETTER if goes_on else SEPARATOR
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
                n = _parted(out, start, n)
                before = kind
            n = _put(out, n, letters[k] >> 2)
    return n, True


@njit(cache=True, nogil=True)
def _parted(out: np.ndarray, start: int, n: int) -> int:
    """Put a space between what stands in `out[start:n]` and what comes, if there is none; return where that comes."""
    out[n] = SPACE
    return n + (n > start and out[n - 1] != SPACE)


@njit(cache=True, nogil=True)
def _fold_ascii(
    text: np.ndarray, i: int, end: int, goes_on: bool, plain: np.ndarray, out: np.ndarray, n: int
) -> tuple[int, int, bool]:
    """Write the words of `text[i:end]` up to what is no ASCII to `out[n:]`, each with a space if anything follows it.

    `goes_on` says that a letter stands before. Returns where it stopped in `text` and in `out`, and if at a letter.
    Up to `LINE` bytes more are read and written than there are.
    """
    while i < end and text[i] < 0x80:
        if i + LINE > len(text):
            letter = plain[text[i]]
            out[n] = letter if letter else SPACE
            n += (letter != 0) | goes_on
            goes_on = letter != 0
            i += 1
            continue
        length = min(first_bit(beyond_ascii(text, i)), end - i)
        some = EVERY_BIT >> np.uint64(LINE - length)
        letters = ascii_words(text, i) & some
        kept = letters | ((letters << ONE | np.uint64(goes_on)) & some)
        copy_letters(text, i, letters, kept, out, n)
        n += bits_in(kept)
        goes_on = letters >> np.uint64(length - 1) != NOTHING
        i += length
    return i, n, goes_on


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
