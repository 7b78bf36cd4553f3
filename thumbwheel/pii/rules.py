"""What a rule is: a kind, the function that finds it, and hints that tell cheaply where it cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from thumbwheel.pii.kinds import PatternKind, Spans

SEVEN_DIGITS = rb"[0-9](?:[^0-9A-Za-z]{0,4}[0-9]){6}"
"""A hint that many rules share: digits with little between them. Hyperscan matches it once for all."""
NEAR = 60
"""Characters before a value in which a word may say what it is."""


@dataclass(frozen=True)
class Rule:
    """Finds one form of a kind.

    `hints` are regular expressions over UTF-8 bytes, free of look-arounds: wherever `find` finds something, one of
    them matches. Where there are `words`, one of those matches as well. Both only save time, they decide nothing.
    """

    kind: PatternKind | Literal["folding"]
    find: Callable[[str, tuple[str, ...]], Spans]
    """Takes the text and the regions of `thumbwheel.pii.phones`; returns spans by start."""
    hints: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()


def caseless(expression: str) -> bytes:
    """Return an expression as a hint that takes no notice of the case of ASCII letters."""
    return b"(?i)" + expression.encode()


def matches(pattern: re.Pattern[str], group: int = 0) -> Callable[[str, tuple[str, ...]], Spans]:
    """Return a finder of everything that `pattern` matches."""

    def find(text: str, regions: tuple[str, ...]) -> Spans:
        return (match.span(group) for match in pattern.finditer(text))

    return find


def is_named(words: re.Pattern[str], text: str, at: int, near: int = NEAR) -> bool:
    """Tell whether one of `words` stands shortly before a place."""
    return words.search(text, max(0, at - near), at) is not None
