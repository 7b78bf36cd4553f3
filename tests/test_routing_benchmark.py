"""The share of a gap recovered by routing: chance is a half, and an order by the gap itself is the best there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.routing import apgr

GRADES = st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=2, max_size=20)


def arrays(grades: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    strong, weak = np.array(grades, float).T
    return strong, weak


def test_four_requests_by_hand() -> None:
    strong, weak = arrays([(9, 3), (8, 6), (7, 7), (7, 7)])
    assert apgr(strong, weak, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx((0.375 + 0.875 + 1 + 1) / 4)


@given(GRADES.filter(lambda grades: sum(a - b for a, b in grades) > 0))
def test_requests_that_look_alike_are_routed_as_by_chance(grades: list[tuple[int, int]]) -> None:
    strong, weak = arrays(grades)
    assert apgr(strong, weak, np.ones(len(grades))) == pytest.approx(0.5)


@given(GRADES.filter(lambda grades: sum(a - b for a, b in grades) > 0), st.randoms(use_true_random=False))
def test_no_order_recovers_more_than_that_of_the_gap(grades: list[tuple[int, int]], random: object) -> None:
    strong, weak = arrays(grades)
    other = np.array([random.random() for _ in grades])  # type: ignore[attr-defined]
    assert apgr(strong, weak, strong - weak) >= apgr(strong, weak, other) - 1e-9
