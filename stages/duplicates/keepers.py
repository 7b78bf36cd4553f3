"""Which row of a cluster stays: rules that a reader of `params.yaml` can check by looking at the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.duplicates.dedup_params import Rule
from stages.duplicates.documents import as_column, as_numbers, messages

DAMAGE = "\ufffd|[\u0080-\u009f]|[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac"
"""Traces of a broken encoding: replacement characters, C1 controls, UTF-8 that was read as Latin-1 or Windows-1252."""
ANSWER = "assistant"
UNFINISHED = r"(?:[\pL\pN\pM,;:(\[{\-–—]\s*|^\s*)$"
"""An answer that ends in the middle: in a letter, a digit, or a sign after which more is expected; or in nothing."""


def order_rows(table: pa.Table, rows: np.ndarray, rules: Sequence[Rule]) -> np.ndarray:
    """Return the places in `rows`, which are rows of a table, best first.

    The rules, in their order: `intact`, fewest traces of a broken encoding; `complete`, the last answer is not cut off;
    `turns`, most messages; `oldest`, a row without a date counting as the youngest; `longest`, most characters. What is
    equal by all goes by id, source and meta.
    """
    texts = {"prompt", "chosen", "rejected", "messages"} if set(rules) - {"oldest"} else set()
    needed = {"id", "source", "meta", "created_at"} | texts
    some = table.select([name for name in table.column_names if name in needed]).combine_chunks().take(as_column(rows))
    keys: dict[str, Any] = {rule: MEASURES[rule](some) for rule in rules}
    keys |= {name: some[name] for name in ("id", "source", "meta") if name in some.column_names}
    measured = pa.Table.from_arrays(list(keys.values()), list(keys))
    order = [(name, "ascending") for name in keys]
    return as_numbers(pc.sort_indices(measured, sort_keys=order))


def _damage(table: pa.Table) -> pa.Array:
    return _total(table, lambda texts: pc.count_substring_regex(texts, DAMAGE))


def _fewest_characters(table: pa.Table) -> pa.Array:
    return pc.negate(_total(table, pc.utf8_length))


def _unfinished(table: pa.Table) -> pa.Array:
    """Return whether the last answer of each row is cut off, or not there."""
    if "chosen" in table.column_names:
        return pc.match_substring_regex(table["chosen"], UNFINISHED)
    rows, roles, texts = messages(table["messages"])
    last = np.flatnonzero(np.append(rows[1:] != rows[:-1], len(rows) > 0))
    texts, roles = texts.take(as_column(last)), roles.take(as_column(last))
    whole = pc.and_(pc.invert(pc.match_substring_regex(texts, UNFINISHED)), pc.equal(roles, ANSWER))
    unfinished = np.ones(table.num_rows, np.int64)
    unfinished[rows[last]] -= as_numbers(whole)
    return as_column(unfinished)


def _fewest_messages(table: pa.Table) -> pa.Array:
    return pc.negate(pc.list_value_length(table[_said(table)]))


def _total(table: pa.Table, measure: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return the sum of a measure over all texts of each row."""
    rows, _, texts = messages(table[_said(table)])
    total = np.bincount(rows, as_numbers(measure(texts)), table.num_rows)
    for name in ("chosen", "rejected"):
        if name in table.column_names:
            total += as_numbers(measure(table[name].combine_chunks()))
    return as_column(total.astype(np.int64))


def _said(table: pa.Table) -> str:
    return "prompt" if "prompt" in table.column_names else "messages"


MEASURES: dict[Rule, Callable[[pa.Table], pa.Array]] = {
    "intact": _damage,
    "complete": _unfinished,
    "turns": _fewest_messages,
    "oldest": lambda table: table["created_at"],
    "longest": _fewest_characters,
}
"""Of each rule, the measure by which the least row is the best."""
