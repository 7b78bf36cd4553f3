"""The kinds of personal data and secrets, and what a finding is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

PatternKind = Literal[
    "url_secret",
    "api_key",
    "email",
    "iban",
    "card",
    "crypto",
    "ipv6",
    "ipv4",
    "ssn",
    "national_id",
    "date_of_birth",
    "phone",
]
NameKind = Literal["person", "place", "organisation"]
Kind = Literal[PatternKind, NameKind]

KINDS: tuple[PatternKind, ...] = get_args(PatternKind)
"""Every kind that has a form of its own; where two findings overlap, the earlier kind wins."""
NAME_KINDS: tuple[NameKind, ...] = get_args(NameKind)
"""Kinds that only a language model can tell; they come after all others and cost a hundred times more."""

Spans = Iterator[tuple[int, int]]
"""Starts and ends in characters, by start."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of personal data: `text[start:end]` of the text searched. `value` is kept out of the repr."""

    kind: str
    start: int
    end: int
    value: str = field(repr=False)


def without_overlaps(taken: list[Finding], more: Iterable[Finding]) -> list[Finding]:
    """Return `taken` and what of `more` overlaps none of it, by start; of two in `more` the earlier start stays."""
    kept, i, reached = [], 0, 0
    for found in more:
        while i < len(taken) and taken[i].end <= found.start:
            i += 1
        if found.start >= reached and (i == len(taken) or taken[i].start >= found.end):
            kept.append(found)
            reached = found.end
    return sorted([*taken, *kept], key=lambda f: f.start) if kept else taken
