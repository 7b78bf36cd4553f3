"""Who a model learnt from: a keyed mark for each user of its training rows, kept when it is registered.

Versions of tables come and go, and so does what could be read from them. The marks stay, tell nobody's name, and are
what `stages.forget` knows by which models learnt from somebody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from thumbwheel.errors import PinError
from thumbwheel.forgotten import forget_key, mark_of
from thumbwheel.lake import newest, read_pin, read_table, write_table

log = logging.getLogger(__name__)

TABLE = "trained_on"
TRAINED_ON = pa.schema([("bundle", pa.string()), ("mark", pa.string())])
"""`bundle` is the hash of the model's bundle; an empty mark says that its census was taken."""


def learnt_from() -> set[str]:
    """Return the users, by their hashes, of the rows on the training side of the split as it is pinned.

    Raises:
        PinError: `split` has not run, or its tables are gone.
    """
    users: set[str] = set()
    for pin in read_pin("split").tables.values():
        rows = read_table(pin)
        if {"user", "split"} <= set(rows.column_names):
            train = rows.filter(pc.equal(rows["split"], "train"))
            users |= set(train["user"].drop_null().to_pylist())
    return users


def keep(bundle: str) -> None:
    """Keep the marks of those whom the model of a bundle learnt from, once."""
    known = newest(TABLE)
    if known is not None and bundle in known["bundle"].to_pylist():
        return
    try:
        marks = ["", *sorted(mark_of(user, forget_key()) for user in learnt_from())]
    except PinError as error:
        log.warning("whom bundle %s learnt from cannot be kept: %s", bundle[:12], error)
        return
    rows = pa.table({"bundle": [bundle] * len(marks), "mark": marks}, schema=TRAINED_ON)
    write_table(TABLE, rows if known is None else pa.concat_tables([known, rows]))


def counted() -> set[str]:
    """Return the bundles whose census was taken."""
    known = newest(TABLE)
    return set() if known is None else set(known["bundle"].to_pylist())


def bundles_of(marks: Iterable[str]) -> set[str]:
    """Return the bundles whose models learnt from one of these users."""
    known = newest(TABLE)
    if known is None:
        return set()
    return set(known.filter(pc.is_in(known["mark"], pa.array(sorted(marks), pa.string())))["bundle"].to_pylist())
