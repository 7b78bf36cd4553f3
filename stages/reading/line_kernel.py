"""Kernel: lines of JSON that are objects of one shape, and the messages in them, roles and UTF-8, one after another.

What it takes is what orjson takes, and what it gives of it is the same; a line of which it is not sure it leaves alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.reading.shapes import ANSWERED, ASKED, LISTED, NOTHING, OTHER
from stages.vectors.lines import copy_line, ends_of_lines, ends_of_strings, first_bit
from stages.vectors.utf8 import code_point, put_code
from thumbwheel.records import ROLES

SLACK = 64
"""Bytes behind the lines, all zero, and behind the room for texts, that the kernel may look at or write to."""
BAD = -1
ONE = np.uint64(1)
QUOTE, BACKSLASH, COMMA, COLON = ord('"'), ord("\\"), ord(","), ord(":")
OPEN, CLOSE, BEGIN, END = ord("{"), ord("}"), ord("["), ord("]")
MINUS, POINT, ZERO = ord("-"), ord("."), ord("0")
SYSTEM, USER, ASSISTANT = map(ROLES.index, ("system", "user", "assistant"))
BLANK, TAB, RETURN = ord(" "), ord("\t"), ord("\r")
LONGEST_NUMBER = 18
ESCAPES = np.zeros(256, np.uint8)
"""What stands for a character behind a backslash, 0 where nothing of one byte does."""
ESCAPES[list(b'"\\/bfnrt')] = list(b'"\\/\b\f\n\r\t')
LITERALS, LITERAL_AT = np.frombuffer(b"truefalsenull", np.uint8), np.array([0, 4, 9, 13])


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
def read_lines(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    words: np.ndarray,
    word_at: np.ndarray,
    kinds: np.ndarray,
    senders: np.ndarray,
    contents: np.ndarray,
    content_at: np.ndarray,
    roles: np.ndarray,
    row_at: np.ndarray,
    fits: np.ndarray,
) -> int:
    """Write the messages of lines that fit to `contents` and `roles`; return how many lines fit, which `fits` tells.

    `words[word_at[k]:word_at[k + 1]]` are, in quotation marks, the keys, of which `kinds` tells what stands under
    them, the two keys of a message in a list, and the names of senders, whose roles `senders` tells. Where each text
    ends goes to `content_at`, and how many texts there are behind each row to `row_at`.
    """
    n = texts = rows = 0
    for line in range(len(starts)):
        begin, first = n, texts
        i = _skip(data, starts[line])
        i = i + 1 if data[i] == OPEN else BAD
        for k in range(len(kinds)):
            i = _key(data, i, words, word_at[k], word_at[k + 1])
            if i == BAD:
                break
            if kinds[k] == LISTED:
                i, n, texts = _messages(
                    data, i, words, word_at[len(kinds) :], senders, contents, content_at, roles, n, texts
                )
            else:
                i, n = _value(data, i, kinds[k], contents, n)
            if kinds[k] in (ASKED, ANSWERED):
                texts += 1
                content_at[texts], roles[texts - 1] = n, USER if kinds[k] == ASKED else ASSISTANT
            i = _behind(data, i, CLOSE if k == len(kinds) - 1 else COMMA)
        fits[line] = i != BAD and _skip(data, i) == ends[line] and _in_turn(roles, first, texts)
        if fits[line]:
            rows += 1
            row_at[rows] = texts
        else:
            n, texts = begin, first
    return rows


@njit(cache=True, nogil=True)
def _in_turn(roles: np.ndarray, first: int, end: int) -> bool:
    """Tell what `stages.reading.plain.in_turn` tells."""
    first += first < end and roles[first] == SYSTEM
    for k in range(first, end):
        if roles[k] != (USER if (k - first) % 2 == 0 else ASSISTANT):
            return False
    return end > first and (end - first) % 2 == 0


@njit(cache=True, nogil=True)
def _messages(
    data: np.ndarray,
    i: int,
    words: np.ndarray,
    word_at: np.ndarray,
    senders: np.ndarray,
    contents: np.ndarray,
    content_at: np.ndarray,
    roles: np.ndarray,
    n: int,
    texts: int,
) -> tuple[int, int, int]:
    """Write the messages of the list at `data[i]`; return the place behind it, and how many bytes and texts there are.

    The words are the two keys of a message, and the names of senders.
    """
    if data[i] != BEGIN:
        return BAD, n, texts
    mark = COMMA
    while mark == COMMA:
        i = _skip(data, i + 1)
        i = _key(data, i + 1, words, word_at[0], word_at[1]) if data[i] == OPEN else BAD
        i, role = _sender(data, i, words, word_at[2:], senders)
        i = _key(data, _behind(data, i, COMMA), words, word_at[1], word_at[2])
        if i == BAD:
            return BAD, n, texts
        i, n = _value(data, i, ASKED, contents, n)
        i = _behind(data, i, CLOSE)
        if i == BAD:
            return BAD, n, texts
        texts += 1
        content_at[texts], roles[texts - 1] = n, role
        i = _skip(data, i)
        mark = data[i]
    return (i + 1 if mark == END else BAD), n, texts


@njit(cache=True, nogil=True)
def _sender(data: np.ndarray, i: int, words: np.ndarray, word_at: np.ndarray, senders: np.ndarray) -> tuple[int, int]:
    """Return the place behind the name of a sender, and the sender's role."""
    if i == BAD:
        return BAD, 0
    for k in range(len(senders)):
        place = _word(data, i, words, word_at[k], word_at[k + 1])
        if place != BAD:
            return place, senders[k]
    return BAD, 0


@njit(cache=True, nogil=True)
def _behind(data: np.ndarray, i: int, mark: int) -> int:
    """Return the place behind a mark, before which blanks may stand."""
    if i == BAD:
        return BAD
    i = _skip(data, i)
    return i + 1 if data[i] == mark else BAD


@njit(cache=True, nogil=True)
def _word(data: np.ndarray, i: int, words: np.ndarray, start: int, end: int) -> int:
    """Return the place behind a word, if it stands there."""
    for k in range(start, end):
        if data[i] != words[k]:
            return BAD
        i += 1
    return i


@njit(cache=True, nogil=True)
def _skip(data: np.ndarray, i: int) -> int:
    """Return the place of the next byte that is no blank within a line."""
    while data[i] == BLANK or data[i] == TAB or data[i] == RETURN:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _key(data: np.ndarray, i: int, words: np.ndarray, start: int, end: int) -> int:
    """Return the place of the value under a key."""
    if i == BAD:
        return BAD
    i = _behind(data, _word(data, _skip(data, i), words, start, end), COLON)
    return BAD if i == BAD else _skip(data, i)


@njit(cache=True, nogil=True)
def _value(data: np.ndarray, i: int, kind: int, out: np.ndarray, n: int) -> tuple[int, int]:
    """Return the place behind a value, and where in `out` its text ends if it is wanted."""
    if data[i] == QUOTE:
        i, end = _string(data, i + 1, out, n)
        if kind in (ASKED, ANSWERED):
            return i, end
        is_sound = end == n if kind == NOTHING else _is_utf8(out, n, end)
        return (i if is_sound else BAD), n
    if kind != OTHER:
        return BAD, n
    for k in range(len(LITERAL_AT) - 1):
        place = _word(data, i, LITERALS, LITERAL_AT[k], LITERAL_AT[k + 1])
        if place != BAD:
            return place, n
    return _number(data, i), n


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
