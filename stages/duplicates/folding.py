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
from stages.duplicates.utf8 import code_point, put_code
from stages.duplicates.vectors import HALF_LINE, LINE, ascii_words, beyond_ascii, bits_in, copy_lower, first_bit
from stages.duplicates.words import END, PART, fold

SPACE, END_BYTE = ord(" "), ord(END)
ONE, EVERY_BIT = np.uint64(1), np.uint64(2**64 - 1)


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
    rooms = [_room(*lot[:4], *lot.at[[first, last]], _labels(lot.names)[1]) + HALF_LINE for lot, first, last in ranges]
    data = fresh((sum(rooms),), np.uint8)
    some = np.split(data, np.cumsum(rooms))
    letters = alphabet() if any(lot.text.max(initial=0) > 127 for lot in lots) else ascii_alphabet()

    def fold_range(k: int) -> list[Folded]:
        return _fold_range(*ranges[k], letters, some[k])

    return _together(data, [*chain.from_iterable(on_all_cores(fold_range, range(len(ranges)))), NO_ROWS])


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
) -> int:
    """Return how many bytes the pieces `first` to `last` become, at most, by the table."""
    room = 0
    for piece in range(first, last):
        length = ends[piece] - begins[piece]
        strange = _count_beyond_ascii(text, begins[piece], ends[piece])
        room += length + (GROWTH - 1) * strange + label_at[parts[piece] + 1] - label_at[parts[piece]] + 1
    return room


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
            whole = whole and (n > start or length == 0)
            out[n] = END_BYTE
            n += 1
        left[row - first] = not whole
        if not whole:
            n = at[row - first] + _room(text, begins, ends, parts, pieces[row], pieces[row + 1], label_at)
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
        if text[i] < 0x80 and i + 2 * LINE <= len(text):
            length = min(first_bit(beyond_ascii(text, i)), end - i)
            runs = ascii_words(text, i) & (EVERY_BIT >> np.uint64(LINE - length))
            n = _copy_words(text, i, runs, before == LETTER, n > start, n, out)
            before = LETTER if runs >> np.uint64(length - 1) else SEPARATOR
            rank = 0
            i += length
            continue
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
        code, width = code_point(text, i, end)
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
            n = put_code(out, n, letters[k] >> 2)
    return n, True


@njit(cache=True, nogil=True)
def _copy_words(
    text: np.ndarray, i: int, runs: np.uint64, goes_on: bool, follows: bool, n: int, out: np.ndarray
) -> int:
    """Write the `runs` of letters, which are about `text[i:i + LINE]`, to `out[n:]`; return where they end there.

    `goes_on` says that a letter stands before the line, `follows` that a word does. Up to `HALF_LINE` bytes more are
    read and written than there are.
    """
    while runs:
        begin = first_bit(runs)
        length = first_bit(~(runs >> np.uint64(begin)))
        out[n] = SPACE
        n += follows & ((begin > 0) | (not goes_on))
        for k in range(0, length, HALF_LINE):
            copy_lower(text, i + begin + k, out, n + k)
        n += length
        runs &= runs + (ONE << np.uint64(begin))
        follows = True
    return n
