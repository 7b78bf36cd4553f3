"""Digits, dashes and blanks of other scripts made plain, character for character, so that rules see one writing."""

from __future__ import annotations

import re
import unicodedata

from thumbwheel.pii.kinds import Spans
from thumbwheel.pii.rules import Rule

DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
BLANKS = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
MARKS = "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
"""Invisible: joiners, and marks of direction that a copied telephone number carries in right-to-left text."""
FULL_WIDTH = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
"""ASCII as it is written between Chinese characters."""


DECIMALS = {
    chr(code): str(value) for code in range(128, 0x20000) if (value := unicodedata.decimal(chr(code), None)) is not None
}
PLAIN = {**dict.fromkeys(DASHES, "-"), **dict.fromkeys(BLANKS + MARKS, " "), **FULL_WIDTH, **DECIMALS}
"""Each unusual character in ASCII."""
NEXT_TO_DIGITS = DASHES + BLANKS + MARKS
UNUSUAL = re.compile(
    rf"[^\x00-\x7f](?:(?<=[^\D0-9])|(?<=[\uff01-\uff5e])|(?<=[{NEXT_TO_DIGITS}])(?:(?<=[\d)].)|(?=[\d+(])))",
    re.DOTALL,
)
"""A digit of another script, or a dash, blank or mark beside a digit; elsewhere they do no harm and stay."""


def fold(text: str) -> str:
    """Return `text` with what is unusual in it in ASCII; each place keeps its number."""
    return UNUSUAL.sub(lambda match: PLAIN[match.group()], text)


def _unusual(text: str, regions: tuple[str, ...]) -> Spans:
    return (match.span() for match in UNUSUAL.finditer(text))


def _digit_hint() -> bytes:
    """Return a hint for the decimal digits of every script: they stand in tens that differ in their last byte."""
    starts = {digit.encode()[:-1] for digit in DECIMALS}
    return b"|".join(re.escape(start) + b"[\x80-\xbf]" for start in sorted(starts))


def _beside_hint() -> bytes:
    """Return a hint for dashes, blanks and marks beside digits."""
    marks = b"|".join(re.escape(mark.encode()) for mark in NEXT_TO_DIGITS)
    return b"[0-9)](?:" + marks + b")|(?:" + marks + b")[0-9+(]"


FOLDING = Rule("folding", _unusual, (_digit_hint(), rb"\xef[\xbc\xbd]", _beside_hint()))
"""Comes before all other rules; where it finds something, they see the folded text."""
