"""Kernel: lines of JSON that are flat objects of one shape, and the texts in them as UTF-8, one after another.

What it takes is what orjson takes, and what it gives of it is the same; a line of which it is not sure it leaves alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.duplicates.utf8 import code_point, put_code
from stages.duplicates.vectors import copy_line, ends_of_lines, ends_of_strings, first_bit

SLACK = 64
"""Bytes behind the lines, all zero, and behind the room for texts, that the kernel may look at or write to."""
TEXT, NOTHING, OTHER = range(3)
"""What stands under a key: a text that is wanted, a text without a character, or any plain value."""
BAD = -1
ONE = np.uint64(1)
QUOTE, BACKSLASH, COMMA, COLON = ord('"'), ord("\\"), ord(","), ord(":")
OPEN, CLOSE, MINUS, POINT, ZERO = ord("{"), ord("}"), ord("-"), ord("."), ord("0")
BLANK, TAB, RETURN = ord(" "), ord("\t"), ord("\r")
LONGEST_NUMBER = 18
ESCAPES = np.zeros(256, np.uint8)
"""What stands for a character behind a backslash, 0 where nothing of one byte does."""
ESCAPES[list(b'"\\/bfnrt')] = list(b'"\\/\b\f\n\r\t')
WORDS = np.frombuffer(b"true\0false\0null\0", np.uint8)


@njit(cache=True, nogil=True)
def find_ends(data: np.ndarray, count: int, ends: np.ndarray) -> int:
    """Write where lines end in the first `count` bytes to `ends`, as far as there is room; return how many do."""
    found = 0
    for i in range(0, count, SLACK):
        some = ends_of_lines(data, i)
        while some:
            place = i + first_bit(some)
            if place < count and found < len(ends):
                ends[found] = place
            found += place < count
            some &= some - ONE
    return found


@njit(cache=True, nogil=True)
def read_flat(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    keys: np.ndarray,
    key_at: np.ndarray,
    kinds: np.ndarray,
    contents: np.ndarray,
    content_at: np.ndarray,
    fits: np.ndarray,
) -> int:
    """Write the texts of lines that fit to `contents`, where each ends to `content_at`, and which lines fit to `fits`.

    Key `k`, in its quotation marks, is `keys[key_at[k]:key_at[k + 1]]`. Returns how many texts there are.
    """
    n = texts = 0
    for line in range(len(starts)):
        begin, first = n, texts
        i = _skip(data, starts[line])
        i = i + 1 if data[i] == OPEN else BAD
        for k in range(len(kinds)):
            i = _key(data, i, keys, key_at[k], key_at[k + 1])
            if i == BAD:
                break
            i, n = _value(data, i, kinds[k], contents, n)
            if i == BAD:
                break
            if kinds[k] == TEXT:
                texts += 1
                content_at[texts] = n
            i = _skip(data, i)
            if data[i] != (CLOSE if k == len(kinds) - 1 else COMMA):
                i = BAD
                break
            i += 1
        fits[line] = i != BAD and _skip(data, i) == ends[line]
        if not fits[line]:
            n, texts = begin, first
    return texts


@njit(cache=True, nogil=True)
def _skip(data: np.ndarray, i: int) -> int:
    """Return the place of the next byte that is no blank within a line."""
    while data[i] == BLANK or data[i] == TAB or data[i] == RETURN:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _key(data: np.ndarray, i: int, keys: np.ndarray, start: int, end: int) -> int:
    """Return the place of the value of a key."""
    if i == BAD:
        return BAD
    i = _skip(data, i)
    for k in range(start, end):
        if data[i] != keys[k]:
            return BAD
        i += 1
    i = _skip(data, i)
    return _skip(data, i + 1) if data[i] == COLON else BAD


@njit(cache=True, nogil=True)
def _value(data: np.ndarray, i: int, kind: int, out: np.ndarray, n: int) -> tuple[int, int]:
    """Return the place behind a value, and where in `out` its text ends if it is wanted."""
    if data[i] == QUOTE:
        i, end = _string(data, i + 1, out, n)
        if kind == TEXT:
            return i, end
        is_sound = end == n if kind == NOTHING else _is_utf8(out, n, end)
        return (i if is_sound else BAD), n
    if kind != OTHER:
        return BAD, n
    word = _word(data, i)
    return (word if word != BAD else _number(data, i)), n


@njit(cache=True, nogil=True)
def _string(data: np.ndarray, i: int, out: np.ndarray, n: int) -> tuple[int, int]:
    """Write the string whose first byte is `data[i]`, and return the places behind its end there and in `out`."""
    while True:
        length = first_bit(ends_of_strings(data, i))
        copy_line(data, i, out, n)
        i += length
        n += length
        if length == SLACK:
            continue
        if data[i] == QUOTE:
            return i + 1, n
        if data[i] != BACKSLASH:
            return BAD, n
        if ESCAPES[data[i + 1]]:
            out[n] = ESCAPES[data[i + 1]]
            i, n = i + 2, n + 1
            continue
        i, code = _escaped(data, i)
        if i == BAD:
            return BAD, n
        n = put_code(out, n, code)


@njit(cache=True, nogil=True)
def _escaped(data: np.ndarray, i: int) -> tuple[int, int]:
    """Return the place behind an escape by number, or behind two that are one character, and that character."""
    code = _unit(data, i)
    if code < 0 or 0xDC00 <= code < 0xE000:
        return BAD, 0
    if code < 0xD800 or code >= 0xE000:
        return i + 6, code
    low = _unit(data, i + 6)
    if not 0xDC00 <= low < 0xE000:
        return BAD, 0
    return i + 12, 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)


@njit(cache=True, nogil=True)
def _unit(data: np.ndarray, i: int) -> int:
    """Return the number in an escape such as `\\u00e9`, BAD where there is none."""
    if data[i] != BACKSLASH or data[i + 1] != ord("u"):
        return BAD
    code = 0
    for k in range(i + 2, i + 6):
        digit = int(data[k]) - ZERO
        if digit > 9:
            digit = (data[k] | 0x20) - ord("a") + 10
            if digit < 10:
                return BAD
        if digit < 0 or digit > 15:
            return BAD
        code = code << 4 | digit
    return code


@njit(cache=True, nogil=True)
def _is_utf8(text: np.ndarray, i: int, end: int) -> bool:
    while i < end:
        code, width = (text[i], 1) if text[i] < 0x80 else code_point(text, i, end)
        if code < 0:
            return False
        i += width
    return True


@njit(cache=True, nogil=True)
def _word(data: np.ndarray, i: int) -> int:
    """Return the place behind `true`, `false` or `null`."""
    k = 0
    while k < len(WORDS):
        place = i
        while WORDS[k] and data[place] == WORDS[k]:
            place, k = place + 1, k + 1
        if not WORDS[k]:
            return place
        while WORDS[k]:
            k += 1
        k += 1
    return BAD


@njit(cache=True, nogil=True)
def _number(data: np.ndarray, i: int) -> int:
    """Return the place behind a number without an exponent that is not long."""
    i += data[i] == MINUS
    whole = _digits(data, i)
    if whole == i or whole - i > LONGEST_NUMBER or (data[i] == ZERO and whole > i + 1):
        return BAD
    if data[whole] != POINT:
        return whole
    end = _digits(data, whole + 1)
    return end if whole + 1 < end <= whole + 1 + LONGEST_NUMBER else BAD


@njit(cache=True, nogil=True)
def _digits(data: np.ndarray, i: int) -> int:
    while ZERO <= data[i] <= ZERO + 9:
        i += 1
    return i
