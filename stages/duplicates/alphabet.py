"""The folding of Unicode as a table by code point, so that a kernel can fold text without Python's help.

Folding one code point is context-free for all but few: those that compose with what stands before them, or stand out of
canonical order (Unicode Standard Annex 15). A row that holds one of those is folded by `words.fold` instead.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain
from typing import NamedTuple

import numpy as np

from stages.duplicates.words import INVISIBLE, MARKS, UNIT

SIZE = 0x1FC00
"""Code points from here on (rare Han) are folded by the definition."""
COMMON = (range(0x3400), range(0xA000, 0xAC00), range(0xF900, 0x10000), range(0x1F000, SIZE))
"""Where the table is worked out, code point by code point; what is in neither is rare, and left to the definition."""
IDENTICAL = (range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0xAC00, 0xD7A4))
"""Han and Hangul: each letter is a word by itself and folds to itself."""
SEPARATOR, LETTER, SINGLE, MARK = range(4)
"""Classes: what ends a word, what makes one up, what is a word by itself, what belongs to the word before."""
GROWTH = 3
"""Folded text is at most so many times as long, in bytes; what would grow more is left to the definition."""


class Alphabet(NamedTuple):
    """`folded[at[c]:at[c + 1]]` is what code point `c` becomes: code points times 4 plus their class."""

    plain: np.ndarray
    """What an ASCII character becomes, 0 where it separates words, shape (128,)."""
    at: np.ndarray
    folded: np.ndarray
    hard: np.ndarray
    """Whether a code point is left to the definition, shape (SIZE,)."""
    order: np.ndarray
    """Canonical combining class, shape (SIZE,)."""


@cache
def alphabet() -> Alphabet:
    """Return the table for every code point below `SIZE`, made once a process."""
    followers = _followers()
    entries: list[list[int] | None] = [None] * SIZE
    for code in chain(*COMMON):
        entries[code] = _entry(code, followers)
    for code in chain(*IDENTICAL):
        entries[code] = [code * 4 + SINGLE]
    at = np.cumsum([0, *(len(entry or ()) for entry in entries)], dtype=np.int32)
    folded = np.array([item for entry in entries for item in entry or ()], np.int32)
    order = np.zeros(SIZE, np.uint8)
    order[list(chain(*COMMON))] = [unicodedata.combining(chr(code)) for code in chain(*COMMON)]
    return Alphabet(_plain(), at, folded, np.array([entry is None for entry in entries]), order)


@cache
def ascii_alphabet() -> Alphabet:
    """Return the table for ASCII alone, which needs no time to make; any other code point is left to the definition."""
    nothing = np.zeros(128, np.int32)
    return Alphabet(_plain(), np.zeros(129, np.int32), nothing, nothing.astype(bool), nothing.astype(np.uint8))


def _plain() -> np.ndarray:
    return np.array([ord(chr(code).lower()) if chr(code).isalnum() else 0 for code in range(128)], np.uint8)


def _entry(code: int, followers: frozenset[int]) -> list[int] | None:
    """Return what a code point folds to, or None where that depends on its neighbours, or grows too long."""
    char = chr(code)
    if 0xD800 <= code < 0xE000 or code in followers:
        return None
    plain = unicodedata.normalize("NFKC", char)
    if plain[0] == " " and all(map(MARK_PATTERN.match, plain[1:].casefold())):
        return [ord(" ") * 4 + SEPARATOR]  # an accent by itself: marks without a letter are no word, in any order
    if plain != char and any(ord(c) in followers or unicodedata.combining(c) for c in plain):
        return None
    text = INVISIBLE.sub("", plain.casefold())
    entry = [ord(c) * 4 + _class(c) for c in text]
    singles = sum(item % 4 == SINGLE for item in entry)
    grown = len(text.encode()) + singles + 1
    return None if grown > GROWTH * len(char.encode()) else entry


def _class(char: str) -> int:
    if char.isalnum():
        return SINGLE if UNIT.match(char) else LETTER
    return MARK if MARK_PATTERN.match(char) else SEPARATOR


MARK_PATTERN = re.compile(f"[{MARKS}]")


def _followers() -> frozenset[int]:
    """Return the code points that may compose with one before them: NFC_Quick_Check=Maybe."""
    jamo = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    pairs = (unicodedata.decomposition(chr(code)).split() for code in chain(range(0x3400), range(0x11000, 0x12000)))
    return frozenset(jamo | {int(pair[1], 16) for pair in pairs if len(pair) == 2 and pair[0][0] != "<"})
