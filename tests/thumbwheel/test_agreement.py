"""Agreement beyond chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.statistics import kappa
from thumbwheel.agreement import agreement, fleiss

VERDICT = st.sampled_from(["reply", "other", "tie"])


def test_fleiss_example_of_1971() -> None:
    counts = [
        *((0, 0, 0, 6, 0), (0, 3, 0, 0, 3), (0, 1, 4, 0, 1), (0, 0, 0, 0, 6), (0, 3, 0, 3, 0), (2, 0, 4, 0, 0)),
        *((0, 0, 4, 0, 2), (2, 0, 3, 1, 0), (2, 0, 0, 4, 0), (0, 0, 0, 0, 6), (1, 0, 0, 5, 0), (1, 1, 0, 4, 0)),
        *((0, 3, 3, 0, 0), (1, 0, 0, 5, 0), (0, 2, 0, 3, 1), (0, 0, 5, 0, 1), (3, 0, 0, 1, 2), (5, 1, 0, 0, 0)),
        *((0, 2, 0, 4, 0), (1, 0, 2, 0, 3), (0, 0, 0, 0, 6), (0, 1, 0, 5, 0), (0, 2, 0, 1, 3), (2, 0, 0, 4, 0)),
        *((1, 0, 0, 4, 1), (0, 5, 0, 1, 0), (4, 0, 0, 0, 2), (0, 2, 0, 4, 0), (1, 0, 5, 0, 0), (0, 0, 0, 0, 6)),
    ]
    verdicts = [[str(kind) for kind, n in enumerate(row) for _ in range(n)] for row in counts]
    assert fleiss(verdicts) == pytest.approx(0.430, abs=0.001)


@given(st.lists(st.tuples(VERDICT, VERDICT), min_size=1, max_size=20))
def test_of_two_raters_it_does_not_matter_who_is_first(pairs: list[tuple[str, str]]) -> None:
    assert fleiss(pairs) == pytest.approx(fleiss([(b, a) for a, b in pairs]))
    assert fleiss(pairs) <= 1.0


@given(st.lists(VERDICT, min_size=2, max_size=20).filter(lambda said: len(set(said)) > 1))
def test_where_all_agree_it_is_one_as_cohens_is(said: list[str]) -> None:
    assert fleiss([(one, one) for one in said]) == pytest.approx(kappa(said, said)) == pytest.approx(1.0)


def test_an_item_of_one_verdict_says_nothing_and_few_items_have_no_interval() -> None:
    assert agreement([["tie"]]).kappa is None
    found = agreement([["tie", "tie"], ["reply", "other"]])
    assert (found.items, found.share, found.low) == (2, 0.5, None)


def test_the_interval_holds_the_estimate() -> None:
    found = agreement([["tie", "tie"], ["reply", "reply"], ["other", "tie"], ["reply", "other"], ["tie", "tie"]] * 4)
    assert found.low is not None
    assert found.low < found.kappa < found.high
