"""What a word is, in the scripts of the world, and the hashed n-grams of words by which rows are compared.

This is the definition, in plain Python; `folding.py` and `grams.py` do the same to whole columns.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from thumbwheel.folding import normalise

Parts = Sequence[tuple[str, str]]
"""A row as (part, text) pairs; n-grams of different parts never match, so a swapped pair is no duplicate."""

PART, END = "\x1f", "\x1e"
"""What stands after the name of a part and after its last word; no word holds either."""
SPREAD, MIX = 0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD
MASK = 2**64 - 1

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u3005-\u3007\u3040-\u312f"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua48f\ua980-\ua9ff\uaa60-\uaadf\uac00-\ud7af"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts written without spaces, or too loosely spaced to rely on: Thai, Lao, Burmese, Khmer, Tai, Balinese, Kana,
Bopomofo, Han, Yi, Javanese, Hangul."""
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
"""Code points that show nothing (Unicode's Default_Ignorable_Code_Point): soft hyphens, joiners, direction marks."""


def _marks() -> str:
    """Return the combining marks as ranges for a character class; those that show nothing are gone by then."""
    marks = {code for code in range(0x300, 0x1F000) if unicodedata.category(chr(code))[0] == "M"}
    starts = sorted(code for code in marks if code - 1 not in marks)
    ends = sorted(code for code in marks if code + 1 not in marks)
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))


MARKS = _marks()
UNIT = re.compile(f"(?=[^\\W_])[{UNSPACED}]")
WORD = re.compile(f"(?=[^\\W_])[{UNSPACED}][{MARKS}]*|[^\\W_{UNSPACED}]+(?:[{MARKS}]+[^\\W_{UNSPACED}]*)*")
"""A word: letters and digits with the marks on them; in scripts without spaces, one letter with its marks."""


def bare_words(text: str) -> list[str]:
    """Return the words of a text without case, punctuation and invisible characters.

    A text without words, such as `:)`, is told apart by its symbols; an empty text is one empty word.
    """
    plain = INVISIBLE.sub("", normalise(text))
    return WORD.findall(plain) or plain.split() or [""]


def fold(parts: Parts) -> bytes:
    """Return a row as the bytes that are equal for rows that differ in case, white space or punctuation only."""
    return "".join(f"{name}{PART}{' '.join(bare_words(text))}{END}" for name, text in parts).encode(
        "utf-8", "surrogatepass"
    )


def shingles(parts: Parts, length: int) -> frozenset[bytes]:
    """Return the hashed word n-grams of a row, 8 bytes each; a part shorter than `length` words is one n-gram."""
    return frozenset(gram.to_bytes(8, "little") for name, text in parts for gram in _grams(name, text, length))


def jaccard(a: frozenset[bytes], b: frozenset[bytes]) -> float:
    """Return the share of n-grams that two rows have in common, 1 for two empty rows."""
    common = len(a & b)
    union = len(a) + len(b) - common
    return common / union if union else 1.0


def _grams(name: str, text: str, length: int) -> Iterable[int]:
    hashes = [_word_hash(word) for word in bare_words(text)]
    for start in range(max(1, len(hashes) - length + 1)):
        total = 0
        for word in hashes[start : start + length]:
            total = (total * SPREAD + word) & MASK
        yield _mixed((total + _word_hash(name)) & MASK)


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    """Return the 64-bit hash of a word's UTF-8 bytes, taken eight at a time and padded with zeros to pairs of eights.

    Each eight is mixed in by a bijection, so words of one length that differ in one eight never collide.
    """
    data = word.encode("utf-8", "surrogatepass")
    value = len(data)
    for start in range(0, max(1, len(data)), 16):
        for half in (data[start : start + 8], data[start + 8 : start + 16]):
            value = ((value ^ int.from_bytes(half, "little")) * MIX) & MASK
            value ^= value >> 32
    return value


def _mixed(value: int) -> int:
    value = ((value ^ (value >> 33)) * MIX) & MASK
    return value ^ (value >> 29)
