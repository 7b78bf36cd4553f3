"""What a place held of a user."""

from __future__ import annotations

from typing import NamedTuple


class Found(NamedTuple):
    """So many things of one place: `what` names a table, file or store, `number` its rows, lines, files or records."""

    place: str
    what: str
    number: int
