"""The kernel that folds rows by the table of `stages.duplicates.alphabet`: ASCII by lines, else by code point."""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.duplicates.alphabet import GROWTH, LETTER, MARK, SEPARATOR, SINGLE
from stages.duplicates.words import END
from stages.vectors.lines import ascii_words, beyond_ascii, bits_in, copy_letters, first_bit
from stages.vectors.llvm import LINE
from stages.vectors.utf8 import code_point, put_code

SPACE, END_BYTE = ord(" "), ord(END)
NOTHING, ONE, EVERY_BIT = np.uint64(0), np.uint64(1), np.uint64(2**64 - 1)


@njit(cache=True, nogil=True)
def room_for_pieces(
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
def fold_rows(
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
            n = at[row - first] + room_for_pieces(text, begins, ends, parts, pieces[row], pieces[row + 1], label_at)[0]
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
                n = _parted(out, start, n)
                before = kind
            n = put_code(out, n, letters[k] >> 2)
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
