"""Letters beyond ASCII as kernels know them: what each folds to, and its part in mojibake; learnt as they are met."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

import numpy as np

from stages.reading.mend import letter_signs
from stages.reading.messages import UNPRINTABLE
from stages.vectors.utf8 import CODES
from thumbwheel.folding import fold

KNOWN, ASKED, HARD, CHANGED = 1, 2, 4, 8
"""Flags of a letter; `HARD` ones fold with what stands beside them, or no text may hold them: rows that hold one are
looked at by themselves. Of `ASKED` it is waited that they be learnt."""
FIRST, ALONE, LAST, RARE, BESIDE = 16, 32, 64, 128, 256
"""Signs of mojibake, of `stages.reading.mend.LetterSigns`."""
GROWTH = 3
"""What folds to so many times its bytes, or more, is hard."""
JAMO = range(0x1160, 0x1200)
"""Those of Hangul that follow another in a syllable."""


class Letters:
    """What is known so far: `kinds`, shape (CODES,), flags by code point, and what those that change fold to.

    The letter `c` becomes `folded[at[c] + 1 :]`, of which `folded[at[c]]` bytes.
    """

    def __init__(self) -> None:
        self.kinds = np.zeros(CODES, np.uint16)
        self.at = np.zeros(CODES, np.int32)
        self.folded = np.zeros(0, np.uint8)

    def learn(self, codes: Iterable[int]) -> None:
        """Learn letters, code points beyond ASCII."""
        folded = bytearray(self.folded)
        for code in codes:
            kind, becomes = _kind(chr(code))
            self.kinds[code], self.at[code] = kind, len(folded)
            folded += bytes([len(becomes), *becomes]) if kind & CHANGED else b""
        self.folded = np.frombuffer(folded, np.uint8)


def _kind(letter: str) -> tuple[int, bytes]:
    """Return the flags of a letter, and what it folds to."""
    if UNPRINTABLE.search(letter) or joins(letter):
        return KNOWN | HARD, b""
    raw, folded, signs = letter.encode(), fold(letter), letter_signs(letter)
    if len(folded) >= GROWTH * len(raw):
        return KNOWN | HARD, b""
    flags = (FIRST, ALONE, LAST, RARE, BESIDE)
    kind = KNOWN | (CHANGED if folded != raw else 0)
    return kind | sum(flag for flag, sign in zip(flags, signs, strict=True) if sign), folded


def joins(letter: str) -> bool:
    """Tell whether a letter may combine with the one before it (Unicode Standard Annex 15), or is a mark at all."""
    first = unicodedata.normalize("NFKD", letter)[0]
    return unicodedata.category(first)[0] == "M" or ord(first) in JAMO


@cache
def letters() -> Letters:
    """Return the letters that this process has met."""
    return Letters()
