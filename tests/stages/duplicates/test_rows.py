"""Rows of bytes are compared byte for byte, however long they are and wherever they lie."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.duplicates.rows import Folded, equal_rows

ROWS = st.lists(st.text("ab", max_size=20).map(str.encode) | st.binary(min_size=8, max_size=9), min_size=1, max_size=6)


def rows_of(rows: list[bytes]) -> Folded:
    at = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Folded(np.frombuffer(b"".join(rows) or b" ", np.uint8), at)


@given(ROWS, ROWS)
def test_rows_are_equal_if_every_byte_is(some: list[bytes], others: list[bytes]) -> None:
    others = [*others, *some, *(row[:-1] + b"c" for row in some)]
    left, right = np.divmod(np.arange(len(some) * len(others)), len(others))
    same = equal_rows(rows_of(some), left, rows_of(others), right)
    assert same.tolist() == [a == b for a in some for b in others]
