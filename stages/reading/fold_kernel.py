"""Kernel: texts folded and laid out as the identity of their conversation hashes them, and what must be known of them.

`thumbwheel.records.conversation_id` is the definition of the layout, `thumbwheel.folding.normalise` of the folding.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.reading.letters import ALONE, ASKED, BESIDE, CHANGED, FIRST, HARD, KNOWN, LAST, RARE
from stages.vectors.lines import beyond_ascii, breaks_and_blanks, controls, copy_folded, first_bit, hashes_in
from stages.vectors.utf8 import code_point

SIZE = 8
"""Bytes in which the size of a text stands before it."""
SPACE, BRACKET = ord(" "), ord("[")
ONE = np.uint64(1)
PLAIN, BRACKETED, HASHED = 1, 2, 4
"""Of a row: that all its texts are printable, not empty, and no mojibake; that the first begins with a bracket; and
that a `#` may stand in one."""


@njit(cache=True, nogil=True)
def fold_rows(
    texts: np.ndarray,
    text_at: np.ndarray,
    roles: np.ndarray,
    row_at: np.ndarray,
    heads: np.ndarray,
    head_at: np.ndarray,
    kinds: np.ndarray,
    letter_at: np.ndarray,
    letters: np.ndarray,
    out: np.ndarray,
    out_at: np.ndarray,
    characters: np.ndarray,
    flags: np.ndarray,
    unknown: np.ndarray,
    done: int,
) -> tuple[int, int]:
    """Lay out conversations but for those that are `done`; return how many letters are not known and stand in
    `unknown`, and how many rows are done: those before the first that holds one.

    Row `r` has the texts `row_at[r]:row_at[r + 1]`, and text `t` is `texts[text_at[t]:text_at[t + 1]]`. Before each
    stands the head of its role, at the end of which is room for the text's size. Writes where a row ends to `out_at`,
    and its `characters` and `flags`.
    """
    n, asked = out_at[done], 0
    for row in range(done, len(row_at) - 1):
        flags[row], characters[row] = PLAIN, 0
        for text in range(row_at[row], row_at[row + 1]):
            for k in range(head_at[roles[text]], head_at[roles[text] + 1]):
                out[n] = heads[k]
                n += 1
            begin = n
            n, is_plain, is_hashed, count, asked = _fold(
                texts, text_at[text], text_at[text + 1], kinds, letter_at, letters, out, n, unknown, asked
            )
            for k in range(SIZE):
                out[begin - 1 - k] = (n - begin) >> (8 * k) & 0xFF
            if not is_plain:
                flags[row] &= ~PLAIN
            if is_hashed:
                flags[row] |= HASHED
            if text == row_at[row] and n > begin and out[begin] == BRACKET:
                flags[row] |= BRACKETED
            characters[row] += count
        out_at[row + 1] = n
        done += asked == 0
    return asked, done


@njit(cache=True, nogil=True)
def _fold(
    texts: np.ndarray,
    i: int,
    end: int,
    kinds: np.ndarray,
    letter_at: np.ndarray,
    letters: np.ndarray,
    out: np.ndarray,
    n: int,
    unknown: np.ndarray,
    asked: int,
) -> tuple[int, bool, bool, int, int]:
    """Write a text folded to `out[n:]`; return where it ends, if it is plain, if it may hold a `#`, its characters,
    and what was `asked`."""
    begin, characters, seen, before = n, 0, 0, 0
    hashes = np.uint64(0)
    gap, is_plain = True, True
    while i < end:
        blanks = breaks_and_blanks(texts, i)
        doubled = blanks & (blanks << ONE | np.uint64(gap))
        odd = controls(texts, i) & ~blanks
        hashes |= hashes_in(texts, i)
        length = min(first_bit(beyond_ascii(texts, i) | doubled | odd), end - i)
        if length > 0:
            copy_folded(texts, i, out, n)
            gap = bool(blanks >> np.uint64(length - 1) & ONE)
            i, n, characters = i + length, n + length, characters + length
            seen |= before & LAST
            before = 0
            continue
        characters += 1
        if texts[i] < 0x80:
            is_plain = is_plain and not odd & ONE
            i += 1
            seen |= before & LAST
            before = 0
            continue
        code, width = code_point(texts, i, end)
        if code < 0:
            return n, False, hashes != 0, characters, asked
        i += width
        kind = kinds[code]
        if not kind & KNOWN:
            if not kind & ASKED and asked < len(unknown):
                kinds[code] = ASKED
                unknown[asked] = code
                asked += 1
            continue
        is_plain = is_plain and not kind & HARD
        seen |= kind & (FIRST | ALONE)
        if (kind & RARE and before & BESIDE) or (kind & BESIDE and before & RARE):
            seen |= ALONE
        before = kind
        n, gap = _put(texts, i - width, width, kind & CHANGED, letters, letter_at[code], out, n, gap)
    seen |= before & LAST
    n -= n > begin and out[n - 1] == SPACE
    is_plain = is_plain and n > begin and not (seen & FIRST and seen & (ALONE | LAST))
    return n, is_plain, hashes != 0, characters, asked


@njit(cache=True, nogil=True)
def _put(
    texts: np.ndarray,
    i: int,
    width: int,
    is_changed: int,
    letters: np.ndarray,
    at: int,
    out: np.ndarray,
    n: int,
    gap: bool,
) -> tuple[int, bool]:
    """Write the letter at `texts[i]` folded to `out[n:]`; return where it ends, and whether on a blank."""
    if not is_changed:
        for k in range(i, i + width):
            out[n] = texts[k]
            n += 1
        return n, False
    for k in range(at + 1, at + 1 + letters[at]):
        is_blank = letters[k] == SPACE
        out[n] = letters[k]
        n += not (is_blank and gap)
        gap = is_blank
    return n, gap
