"""How texts are folded, so that those which differ in letter case, width or white space alone are the same.

It goes by way of bytes, and beyond ASCII run by run, for few runs of characters make up most texts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

FOLDED = bytes(
    byte if byte > 127 else ord(" ") if chr(byte).isspace() else ord(chr(byte).lower()) for byte in range(256)
)
"""What case folding and the folding of white space make of each ASCII character; NFKC leaves them as they are."""
BLANKED = b" " * 128 + bytes(range(128, 256))
"""Makes blanks of all ASCII, so that what is left of a text is its runs of other characters."""
WIDE_BLANKS = tuple(blank.encode() for blank in "\x85\u1680\u2028\u2029")
"""The white space beyond ASCII that NFKC leaves as it is."""
MANY_RUNS = 48
LONG_RUN = 64
"""Bytes; where runs are many or long, the whole text is folded at once."""


def normalise(text: str) -> str:
    """Return `text` in NFKC, case-folded, with runs of white space folded to one space."""
    return normalised(text).decode("utf-8", "surrogatepass")


def fold(text: str, table: bytes = FOLDED) -> bytes:
    """Return `normalise(text)` as UTF-8 with every character of white space as a blank of its own.

    `table` says what is made of each ASCII character.
    """
    return (text.encode() if text.isascii() else _folded(text)).translate(table)


def normalised(text: str) -> bytes:
    """Return `normalise(text)` as UTF-8, by way of bytes, in which blanks fold several times faster."""
    folded = fold(text)
    while b"  " in folded:
        folded = folded.replace(b"  ", b" ")
    return folded.strip(b" ")


def _folded(text: str) -> bytes:
    """Return a text with all but its ASCII folded: run by run, for most texts have few runs and most runs recur."""
    raw = text.encode("utf-8", "surrogatepass")
    runs = set(raw.translate(BLANKED).split())
    if len(runs) <= MANY_RUNS and max(map(len, runs)) <= LONG_RUN and (changes := folded_runs(runs)) is not None:
        return replaced(raw, changes)
    return _fold_foreign(text)


Changes = tuple[tuple[bytes, bytes], ...]


def folded_runs(runs: Iterable[bytes]) -> Changes | None:
    """Return those of a text's runs of characters beyond ASCII, in UTF-8, that folding changes, and what it makes them.

    None where one may combine with the letter before it and so cannot be seen alone. The longest comes first: what is
    folded is not changed by what is done to its parts.
    """
    changes = [(run, folded) for run in runs if (folded := _folded_run(run)) != run]
    if any(folded is None for _, folded in changes):
        return None
    return tuple((run, folded or b"") for run, folded in sorted(changes, key=lambda change: -len(change[0])))


def replaced(text: bytes, changes: Changes) -> bytes:
    """Return a text with its runs folded, in UTF-8."""
    for run, folded in changes:
        text = text.replace(run, folded)
    return text


@lru_cache(4096)
def _folded_run(run: bytes) -> bytes | None:
    """Return a run folded; None where it may combine with the letter before it and so cannot be seen alone."""
    text = run.decode("utf-8", "surrogatepass")
    first = unicodedata.normalize("NFKD", text[:1])[:1]
    return None if first and unicodedata.combining(first) else _fold_foreign(text)


def _fold_foreign(text: str) -> bytes:
    folded = unicodedata.normalize("NFKC", text).casefold().encode("utf-8", "surrogatepass")
    for blank in WIDE_BLANKS:
        folded = folded.replace(blank, b" ")
    return folded
