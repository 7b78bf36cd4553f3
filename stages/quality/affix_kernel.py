"""The kernels that find marks to split a word at: before it, behind it, within; `english` has them as patterns.

Texts are uint32 arrays of code points, `flags` is the table of `stages.quality.characters`, positions are half open.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stages.quality.characters import (
    AFFIX,
    ALPHA,
    ALPHA_LOWER,
    ALPHA_UPPER,
    BEFORE_DOT,
    ICON,
    MONEY,
    PREFIX,
    QUOTE,
    SUFFIX,
    UNIT_END,
)
from stages.quality.compiled_kernel import compiled, inlined
from stages.quality.english import rules

PRIME = 0x100000001B3
SPREAD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: spreads keys over a table (Knuth, vol. 3, section 6.4)."""
LONGEST_UNIT = max(map(len, rules()["units"]))
DOT, COMMA, COLON, SLASH, PLUS, HYPHEN, DOLLAR, STAR, CARET, LESS, EQUAL, MORE = (ord(c) for c in ".,:/+-$*^<=>")
EN_DASH, EM_DASH, TILDE, ELLIPSIS, DEGREE, APOSTROPHE, QUOTE_RIGHT = (ord(c) for c in "–—~…°'’")
ZERO, NINE, SMALL_S, CAPITAL_S, CAPITAL_A, CAPITAL_C, CAPITAL_U = (ord(c) for c in "09sSACU")
SCALES = tuple(ord(c) for c in "FfCcKk")
"""Of degrees."""


def text_hash(codes: Iterable[int]) -> int:
    """Return the hash of code points that the kernels use, never 0."""
    key = 0
    for code in codes:
        key = (key * PRIME + code + 1) % 2**64
    return key or 1


@inlined
def hashed(cp: np.ndarray, begin: int, end: int) -> np.uint64:
    key = np.uint64(0)
    for i in range(begin, end):
        key = key * np.uint64(PRIME) + np.uint64(cp[i] + 1)
    return key if key != 0 else np.uint64(1)


@inlined
def is_digit(c: int) -> bool:
    return ZERO <= c <= NINE


@inlined
def run_of(cp: np.ndarray, at: int, end: int, c: int) -> int:
    """Return how many times `c` stands from `at` on."""
    i = at
    while i < end and cp[i] == c:
        i += 1
    return i - at


@compiled
def prefix_length(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> int:
    c = cp[begin]
    if flags[c] & (PREFIX | ICON | MONEY):
        return 1
    if c == DOT:
        run = run_of(cp, begin, end, DOT)
        return run if run > 1 else 0
    if c == PLUS:
        return 0 if begin + 1 < end and is_digit(cp[begin + 1]) else 1
    return foreign_dollar(cp, begin, end)


@compiled
def foreign_dollar(cp: np.ndarray, begin: int, end: int) -> int:
    """Return the length of "US$", "C$" or "A$" at `begin`, or 0."""
    if begin + 1 < end and cp[begin + 1] == DOLLAR and cp[begin] in (CAPITAL_A, CAPITAL_C):
        return 2
    if begin + 2 < end and cp[begin + 2] == DOLLAR and cp[begin] == CAPITAL_U and cp[begin + 1] == CAPITAL_S:
        return 3
    return 0


@compiled
def suffix_length(cp: np.ndarray, begin: int, end: int, flags: np.ndarray, units: np.ndarray) -> int:
    if begin >= end:
        return 0
    c = cp[end - 1]
    if not flags[c] & (AFFIX | UNIT_END) and c not in (SMALL_S, CAPITAL_S):
        return 0
    longest = 1 if flags[c] & (SUFFIX | ICON) else 0
    if end - begin < 2:
        return longest
    before = cp[end - 2]
    if c == ELLIPSIS and before == ELLIPSIS:
        return 2
    if c in (SMALL_S, CAPITAL_S) and (before in (APOSTROPHE, QUOTE_RIGHT)):
        longest = 2
    if c == DOT:
        return dot_suffix(cp, begin, end, flags)
    if is_digit(before) and (c == PLUS or flags[c] & MONEY):
        longest = max(longest, 1)
    return max(longest, measure_suffix(cp, begin, end, flags, units))


@compiled
def dot_suffix(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> int:
    before = cp[end - 2]
    if before == DOT:
        i = end - 2
        while i > begin and cp[i - 1] == DOT:
            i -= 1
        return end - i
    if flags[before] & BEFORE_DOT:
        return 1
    if end - begin < 3:
        return 0
    scale = before in SCALES
    both = flags[before] & ALPHA_UPPER and flags[cp[end - 3]] & ALPHA_UPPER
    return 1 if both or (scale and cp[end - 3] == DEGREE) else 0


@compiled
def measure_suffix(cp: np.ndarray, begin: int, end: int, flags: np.ndarray, units: np.ndarray) -> int:
    """Return the length of a unit or a currency's name after a digit, or 0."""
    c = cp[end - 1]
    if c == DOLLAR:
        for length in (2, 3):
            at = end - length
            if at > begin and is_digit(cp[at - 1]) and foreign_dollar(cp, at, end) == length:
                return length
    if flags[c] & UNIT_END:
        for length in range(1, LONGEST_UNIT + 1):
            at = end - length
            if at > begin and is_digit(cp[at - 1]):
                key = hashed(cp, at, end)
                slot = np.searchsorted(units, key)
                return length if slot < units.size and units[slot] == key else 0
    return 0


@compiled
def infix_length(cp: np.ndarray, at: int, begin: int, end: int, flags: np.ndarray) -> int:
    c = cp[at]
    if c == ELLIPSIS or flags[c] & ICON:
        return 1
    if c == DOT:
        run = run_of(cp, at, end, DOT)
        if run > 1:
            return run
    if at == begin or at + 1 >= end:
        return 0
    before, after = flags[cp[at - 1]], flags[cp[at + 1]]
    digit = is_digit(cp[at - 1])
    if digit and c in (PLUS, HYPHEN, STAR, CARET) and (is_digit(cp[at + 1]) or cp[at + 1] == HYPHEN):
        return 1
    if c == DOT:
        return 1 if before & (ALPHA_LOWER | QUOTE) and after & (ALPHA_UPPER | QUOTE) else 0
    if c == COMMA:
        return 1 if before & ALPHA and after & ALPHA else 0
    if not (digit or before & ALPHA):
        return 0
    if c in (COLON, SLASH, EN_DASH, TILDE, LESS, EQUAL, MORE):
        return 1 if after & ALPHA else 0
    if c in (HYPHEN, EM_DASH):
        run = run_of(cp, at, end, c)
        most = 3 if c == HYPHEN else 2
        return run if run <= most and at + run < end and flags[cp[at + run]] & ALPHA else 0
    return 0
