"""Runs that come again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from thumbwheel.circles import repeated


@given(said=st.lists(st.integers(0, 2), max_size=30), run=st.integers(1, 5))
def test_what_is_repeated_is_what_a_slow_count_finds(said: list[int], run: int) -> None:
    runs = [tuple(said[i : i + run]) for i in range(len(said) - run + 1)]
    slow = sum(any(runs.count(runs[j]) > 1 for j in range(max(0, i - run + 1), min(i + 1, len(runs))))
               for i in range(len(said)))  # fmt: skip
    assert repeated(said, run) == slow
