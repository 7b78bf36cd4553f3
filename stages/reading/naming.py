"""Sources whose columns have other names: a record of theirs by the names that shapes and fields are read by."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.reading.containers import Record

SYNONYMS = (
    ("messages",),
    ("conversations", "conversation"),
    ("prompt", "question"),
    ("instruction",),
    ("input", "context"),
    ("completion", "response", "answer", "output"),
    ("chosen",),
    ("rejected",),
    ("history",),
    ("system",),
    ("label",),
    ("message_tree_id",),
    ("user", "user_id"),
    ("consent",),
    ("licence", "license"),
    ("lang", "language"),
    ("topic", "category"),
    ("objective",),
    ("model",),
    ("created_at", "created_date", "timestamp"),
)
"""Our names: all that `stages.reading.formats` and `stages.reading.fields` ask a record for, by what they mean."""
OURS = tuple(chain.from_iterable(SYNONYMS))
NOTES_KEPT = ("mends", "was")
"""What a mended row says of itself (`stages.quarantine`), so that no column of a source can be called so."""
ABSENT = object()
NAMED = 200
"""Characters of a list of columns that are shown."""


def checked(columns: dict[str, str]) -> dict[str, str]:
    """Return a mapping of our names to a source's, once it can mean but one thing.

    Raises:
        ValueError: it has a name that is none of ours, or two for the same, or one column twice.
    """
    for name in columns:
        if name not in OURS:
            near = difflib.get_close_matches(name, OURS, n=1)
            meant = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(OURS)}"
            raise ValueError(f"'{name}' is none of our names; {meant}")
    for names in SYNONYMS:
        if len(both := [name for name in names if name in columns]) > 1:
            raise ValueError(f"'{both[0]}' and '{both[1]}' mean the same; keep one of them")
    for theirs, count in Counter(columns.values()).items():
        if count > 1:
            raise ValueError(f"the column '{theirs}' stands for {count} of our names; it can be but one thing")
        if theirs.partition(".")[0] in NOTES_KEPT:
            raise ValueError(f"a column cannot be called '{theirs}', as a mended row says something else there")
    return columns


@dataclass(frozen=True)
class Naming:
    """Pairs of a name of ours and the column that has it in a source; without any, records stay as they are.

    A column may be one of an object within a column, as `meta.author`, where none is called so as a whole. What no
    pair names keeps its name, unless that is one of ours that a pair, or a synonym in a pair, has given away.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    def of(self, value: Any) -> Any:
        """Return a record by our names; anything else, and a record of a source without pairs, as it is."""
        if not self.pairs or not isinstance(value, Mapping):
            return value
        found = {ours: _held(value, theirs) for ours, theirs in self.pairs}
        kept = {name: held for name, held in value.items() if name not in self._given_away}
        return kept | {ours: held for ours, held in found.items() if held is not ABSENT}

    def keys_of(self, keys: Iterable[str]) -> tuple[str | None, ...]:
        """Return our names for keys of a record under which no object stands; None for one that is not read."""
        ours = {theirs: ours for ours, theirs in self.pairs}
        return tuple(ours.get(key, None if key in self._given_away else key) for key in keys)

    def lack(self, value: Any) -> str:
        """Return what a record lacks, and what it has, to stand before the reason for which it is turned away."""
        lacking = self.lacking(value)
        return f"it has no column {_listed(lacking)}, only {_listed(value)}; " if lacking else ""

    def lacking(self, value: Any) -> list[str]:
        """Return the columns of the pairs that a record does not have; none of what is no record."""
        if not isinstance(value, Mapping):
            return []
        return [theirs for _, theirs in self.pairs if _held(value, theirs) is ABSENT]

    @cached_property
    def _given_away(self) -> frozenset[str]:
        mapped = {ours for ours, _ in self.pairs}
        same = chain.from_iterable(names for names in SYNONYMS if not mapped.isdisjoint(names))
        return frozenset([*same, *(theirs for _, theirs in self.pairs)])


AS_THEY_ARE = Naming()


class Sightings:
    """Which columns of a naming no record of a file has had so far, and what columns its first record had."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self.unseen = {theirs for _, theirs in naming.pairs}
        self.columns: list[str] = []

    def note(self, records: Iterable[Record]) -> None:
        """Take note of some records."""
        for record in records if self.unseen else ():
            if isinstance(record.value, Mapping):
                self.unseen.intersection_update(self._naming.lacking(record.value))
                self.columns = self.columns or list(map(str, record.value))


def _listed(columns: Iterable[Any]) -> str:
    return ", ".join(sorted(map(str, columns)))[:NAMED]


def _held(record: Mapping[str, Any], column: str) -> Any:
    """Return what a record holds in a column, or `ABSENT`."""
    if column in record:
        return record[column]
    held: Any = record
    for name in column.split("."):
        if not isinstance(held, Mapping) or name not in held:
            return ABSENT
        held = held[name]
    return held
