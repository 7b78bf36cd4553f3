"""What each Unicode character is, as bits in a table by code point, for the kernels; and the marks that our rules name.

The table agrees with `str` and `unicodedata` of this Python and with `english_rules.json`.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from functools import cache
from string import ascii_letters
from typing import TYPE_CHECKING

from stages.quality.english import rules

if TYPE_CHECKING:
    import numpy as np

TERMINALS = frozenset(".!?。！？…।؟:;)]}”»\"'`*_~|>")
"""Marks on which a whole answer may end."""
PROSE_MARKS = frozenset(".,!?;:'\"()-–—’‘“”%€$£°/&…。，、！？")
LINE_ENDS = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
"""Where `str.splitlines` parts lines."""

SPACE, LETTER, WORD, ALNUM, UPPER, MARK, PUNCTUATION = (1 << i for i in range(7))
"""`str.isspace`, `isalpha`, the `\\w` of `re`, `isalnum`, `isupper`; categories M and P."""
PROSE, CLOSE, LINE_END, SYMBOL, TERMINAL = (1 << i for i in range(9, 14))
"""Of our rules, and of datatrove: what a mere symbol is made of, and what ends a line well."""
ALPHA, ALPHA_LOWER, ALPHA_UPPER, ICON, PREFIX, SUFFIX, QUOTE, BEFORE_DOT, SENTENCE_END = (1 << i for i in range(14, 23))
"""spaCy's classes."""
MONEY, UNIT_END, AFFIX = (1 << i for i in range(23, 26))
"""A currency's sign; what a unit ends with; what a chunk must hold for any affix or infix to be found in it."""
LATIN, BRACKET, BRACE, CONSONANT = 1 << 26, 1 << 27, 1 << 28, 1 << 31
"""A letter from a to z, small or capital; "[" and "{"; such a letter that is no vowel."""

ASSIGNED = ((0, 0x33480), (0xE0000, 0xE01F0))
"""All code points of this Python's Unicode but the private ones, which are nothing of the above."""


@cache
def table() -> np.ndarray:
    """Return the bits of every code point, shape (0x110000,), uint32."""
    import numpy as np

    bits = np.zeros(sys.maxunicode + 1, np.uint32)
    for first, last in ASSIGNED:
        bits[first:last] = _classes(first, last)
    for bit, marks in _marks().items():
        bits[[ord(mark) for mark in marks]] |= np.uint32(bit)
    for bit, name in _named().items():
        for first, last in rules()[name]:
            bits[first : last + 1] |= np.uint32(bit)
    bits[bits & (PREFIX | SUFFIX | ICON | MONEY) != 0] |= np.uint32(AFFIX)
    return bits


def _classes(first: int, last: int) -> np.ndarray:
    """Return the bits of code points by `str` and `unicodedata`."""
    import numpy as np

    each = np.arange(first, last, dtype=np.uint32).view("U1")
    category = np.array([unicodedata.category(chr(code))[0] for code in range(first, last)])
    holds = {
        SPACE: np.strings.isspace(each),
        LETTER: np.strings.isalpha(each),
        WORD: np.strings.isalnum(each) | (each == "_"),
        ALNUM: np.strings.isalnum(each),
        UPPER: np.strings.isupper(each),
        MARK: category == "M",
        PUNCTUATION: category == "P",
    }
    return np.bitwise_or.reduce([np.where(those, np.uint32(bit), np.uint32(0)) for bit, those in holds.items()])


def _marks() -> dict[int, Iterable[str]]:
    return {
        PROSE: PROSE_MARKS,
        CLOSE: TERMINALS,
        LINE_END: LINE_ENDS,
        MONEY: [sign for sign in rules()["currency"] if len(sign) == 1],
        UNIT_END: [unit[-1] for unit in rules()["units"]],
        AFFIX: "0123456789.,:<>=/+-*^~–—…°§%'’$",
        LATIN: ascii_letters,
        CONSONANT: set(ascii_letters).difference("aeiouyAEIOUY"),
        BRACKET: "[",
        BRACE: "{",
    }


def _named() -> dict[int, str]:
    return {
        SYMBOL: "symbol",
        TERMINAL: "terminal",
        ALPHA: "alpha",
        ALPHA_LOWER: "lower",
        ALPHA_UPPER: "upper",
        ICON: "icon",
        PREFIX: "prefix",
        SUFFIX: "suffix",
        QUOTE: "quote",
        BEFORE_DOT: "before_dot",
        SENTENCE_END: "sentence_end",
    }


def fold(text: str) -> str:
    """Return `text` in lower case, character by character; one whose lower case is longer stays as it is."""
    return "".join(small if len(small := c.lower()) == 1 else c for c in text)


@cache
def folds() -> np.ndarray:
    """Return the code point of each code point's lower case, as `fold` has it; shape (0x1E944,), int32."""
    import numpy as np

    small = fold("".join(map(chr, range(0x1E944))))
    return np.frombuffer(small.encode("utf-32-le", "surrogatepass"), np.int32)
