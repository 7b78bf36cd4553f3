"""The statistics against known answers, and what must hold for every input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.statistics import (
    detectable_effect,
    exact_share,
    holm,
    kappa,
    paired_bootstrap,
    pairs_needed,
    sign_flip_test,
    wilson,
)

DELTAS = st.lists(st.floats(-5, 5), min_size=2, max_size=30)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@given(DELTAS)
def test_the_interval_holds_the_mean(deltas: list[float]) -> None:
    interval = paired_bootstrap(deltas, rng(), 300, 0.9)
    assert interval.low <= interval.mean <= interval.high


def test_the_interval_comes_near_the_normal_one_for_many_pairs() -> None:
    deltas = rng().normal(0.3, 1.0, 2000)
    interval = paired_bootstrap(deltas, rng(), 4000, 0.9)
    half = 1.645 * deltas.std(ddof=1) / np.sqrt(2000)
    assert interval.low == pytest.approx(deltas.mean() - half, abs=0.01)
    assert interval.high == pytest.approx(deltas.mean() + half, abs=0.01)


def test_forty_equal_pairs_of_a_rate_still_leave_an_interval() -> None:
    interval = paired_bootstrap([0.0] * 40, rng(), 4000, 0.9, scale=1.0)
    assert -0.1 < interval.low < 0 < interval.high < 0.1


def test_the_same_seed_gives_the_same_interval() -> None:
    assert paired_bootstrap([1, 2, 4], rng(), 500, 0.9) == paired_bootstrap([1, 2, 4], rng(), 500, 0.9)


def test_three_gains_of_three_have_the_exact_p_of_one_eighth() -> None:
    assert sign_flip_test([1.0, 2.0, 3.0], rng(), 100) == pytest.approx(1 / 8)


def test_no_difference_has_p_one() -> None:
    assert sign_flip_test([0.0] * 40, rng(), 500) == 1.0


def test_a_sampled_p_is_near_the_exact_one_and_never_zero() -> None:
    deltas = rng().normal(0.4, 1.0, 14)
    exact = sign_flip_test(deltas, rng(), 1)
    sampled = sign_flip_test([*deltas, 0.0], rng(), 20_000)
    assert sampled == pytest.approx(exact, abs=0.02)
    assert sign_flip_test([5.0] * 60, rng(), 500) == pytest.approx(1 / 501)


def test_holm_gives_the_textbook_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_makes_a_p_smaller_and_keeps_their_order(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(a >= p for a, p in zip(adjusted, ps, strict=True))
    ranked = [adjusted[i] for i in sorted(range(len(ps)), key=lambda i: ps[i])]
    assert ranked == sorted(ranked)


def test_the_pairs_needed_for_the_detectable_effect_are_the_pairs_there_are() -> None:
    effect = detectable_effect(0.8, 64, 0.05, 0.8)
    assert pairs_needed(0.8, effect * 1.0001, 0.05, 0.8) == 64
    assert effect == pytest.approx(2.4865 * 0.8 / 8, rel=1e-3)


def test_no_number_of_pairs_settles_a_difference_of_zero() -> None:
    assert pairs_needed(1.0, 0.0, 0.05, 0.8) is None


def test_twelve_pairs_get_students_and_not_the_normal_interval() -> None:
    spread = 0.0
    for _ in range(40):
        deltas = rng().normal(0, 1, 12)
        interval = paired_bootstrap(deltas, rng(), 2000, 0.9)
        spread += (interval.high - interval.low) / (2 * 1.796 * deltas.std(ddof=1) / np.sqrt(12)) / 40
    assert spread == pytest.approx(1.0, abs=0.05)


def test_the_interval_of_few_pairs_holds_the_truth_at_its_level() -> None:
    source, missed = np.random.default_rng(5), 0
    for _ in range(800):
        interval = paired_bootstrap(source.normal(0.3, 1, 14), source, 500, 0.9)
        missed += not interval.low <= 0.3 <= interval.high
    assert missed / 800 <= 0.1 + 3 * np.sqrt(0.09 / 800)


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.5, 0.99))
def test_a_share_lies_within_its_interval_and_that_within_zero_and_one(a: int, b: int, confidence: float) -> None:
    found = wilson(min(a, b), max(a, b, 1), confidence)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_eight_of_eight_is_not_sure_to_be_all() -> None:
    assert wilson(8, 8, 0.9).low == pytest.approx(0.747, abs=0.002)


def test_the_exact_interval_has_the_textbook_ends() -> None:
    assert exact_share(0, 10, 0.95).high == pytest.approx(0.3085, abs=1e-4)
    found = exact_share(4, 10, 0.95)
    assert (found.low, found.high) == (pytest.approx(0.1216, abs=1e-4), pytest.approx(0.7376, abs=1e-4))
    assert exact_share(10, 10, 0.95).low == pytest.approx(1 - 0.3085, abs=1e-4)


def test_kappa_is_zero_at_chance_and_one_at_agreement() -> None:
    assert kappa(["a", "b", "a", "b"], ["a", "b", "a", "b"]) == 1.0
    assert kappa(["a", "a", "b", "b"], ["a", "b", "a", "b"]) == pytest.approx(0.0)
    assert kappa(["tie"] * 4, ["a", "b", "a", "b"]) == pytest.approx(0.0)


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [float("inf")]])
def test_what_is_no_number_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"finite|non-empty"):
        paired_bootstrap(bad, rng(), 300, 0.9)
