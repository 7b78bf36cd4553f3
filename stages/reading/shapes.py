"""Shapes of records whose lines may be taken by whole columns: the keys in their order, and what stands under each."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from stages.reading.containers import parse
from stages.reading.naming import AS_THEY_ARE, Naming
from stages.reading.plain import TOLD, listed_of, turn_of
from thumbwheel.records import ROLES

LOOKED_AT = 8
"""Lines of which one must tell the shape of all that are taken together."""
ASKED, ANSWERED, NOTHING, OTHER, LISTED = range(5)
"""What stands under a key: a user's text, an assistant's, a text without a character, any plain value, all messages."""


class Shape(NamedTuple):
    """The keys of a record as a line has them, one after the other, and what stands under each."""

    keys: tuple[bytes, ...]
    kinds: tuple[int, ...]
    inner: tuple[bytes, bytes] = (b"", b"")
    """The keys of a message in a list: its sender's, and its text's."""
    senders: tuple[tuple[bytes, int], ...] = ()
    """Names of senders, and which of `ROLES` each is."""

    @property
    def words(self) -> list[bytes]:
        """All words that may stand in a line, in quotation marks: its keys, those of a message, names of senders."""
        return [*self.keys, *self.inner, *(name for name, _ in self.senders)]


def shape_among(lines: Iterable[bytes], format: str, naming: Naming = AS_THEY_ARE) -> Shape | None:
    """Return the shape of the first of some lines that has one; `format` is what `formats.read_record` takes."""
    found = (_shape(tuple(value), format, naming) for value in map(parse, lines) if isinstance(value, dict))
    return next(filter(None, found), None)


@lru_cache(1024)
def _shape(written: tuple[Any, ...], format: str, naming: Naming) -> Shape | None:
    """Return the shape of records with these keys, where they say nothing more of themselves than their messages."""
    keys = naming.keys_of(written)
    if not TOLD.isdisjoint(keys) or not all(map(str.isascii, written)):
        return None
    names = tuple(map(orjson.dumps, written))
    if (turn := turn_of(keys, format)) is not None:
        if keys.index(turn.asked) > keys.index(turn.answered):
            return None
        known = {turn.asked: ASKED, turn.answered: ANSWERED, **dict.fromkeys(turn.more, NOTHING)}
        return Shape(names, tuple(known.get(key, OTHER) if key else OTHER for key in keys))
    if (listed := listed_of(keys, format)) is None:
        return None
    kinds = tuple(LISTED if key == listed.name else OTHER for key in keys)
    senders = tuple((orjson.dumps(name), ROLES.index(role)) for name, role in listed.senders.items())
    return Shape(names, kinds, (orjson.dumps(listed.sender), orjson.dumps(listed.content)), senders)
