"""What each Unicode character is, as bits in a table by code point, for the kernels; and the marks that our rules name.

The table agrees with `str` and `unicodedata` of this Python and with `english_rules.json`.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from functools import cache
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

ASSIGNED = ((0, 0x33480), (0xE0000, 0xE01F0))
"""All code points of this Python's Unicode but the private ones, which are nothing of the above."""


@cache
def table() -> np.ndarray:
    """Return the bits of every code point, shape (0x110000,), uint32."""
    import numpy as np

    bits = np.zeros(sys.maxunicode + 1, np.uint32)
    for first, last in ASSIGNED:
        codes = range(first, last)
        for bit, holds in _tests().items():
            bits[first:last] |= np.fromiter((bit if holds(chr(code)) else 0 for code in codes), np.uint32, len(codes))
    for bit, name in _named().items():
        for first, last in rules()[name]:
            bits[first : last + 1] |= np.uint32(bit)
    bits[bits & (PREFIX | SUFFIX | ICON | MONEY) != 0] |= np.uint32(AFFIX)
    return bits


def _tests() -> dict[int, Callable[[str], bool]]:
    category = unicodedata.category
    return {
        SPACE: str.isspace,
        LETTER: str.isalpha,
        WORD: lambda c: c.isalnum() or c == "_",
        ALNUM: str.isalnum,
        UPPER: str.isupper,
        MARK: lambda c: category(c)[0] == "M",
        PUNCTUATION: lambda c: category(c)[0] == "P",
        PROSE: PROSE_MARKS.__contains__,
        CLOSE: TERMINALS.__contains__,
        LINE_END: LINE_ENDS.__contains__,
        MONEY: frozenset(rules()["currency"]).__contains__,
        UNIT_END: frozenset(unit[-1] for unit in rules()["units"]).__contains__,
        AFFIX: frozenset("0123456789.,:<>=/+-*^~–—…°§%'’$").__contains__,
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

    return np.fromiter((ord(fold(chr(code))) for code in range(0x1E944)), np.int32)
