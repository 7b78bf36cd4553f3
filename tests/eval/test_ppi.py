"""Prediction-powered inference: coverage whatever the judge, never wider than people alone, sharper with a good one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.ppi import combine, tuned_weight

PEOPLE, JUDGED, TRIALS, CONFIDENCE = 50, 950, 1500, 0.9
TRUE_MEAN = 0.2
Judge = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def good(said: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(said)) < 0.85, said, rng.choice([-0.5, 0.0, 0.5], len(said)))


def biased(said: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(said)) < 0.5, 0.5, good(said, rng))


def useless(said: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.choice([-0.5, 0.0, 0.5], len(said))


def perverse(said: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return -good(said, rng)


def constant(said: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.full(len(said), 0.5)


def simulate(judge: Judge, people: int = PEOPLE) -> tuple[float, float, float]:
    """Return coverage of the interval, its mean width over that of people alone, and the estimate's mean error."""
    rng = np.random.default_rng(5)
    covered, widths, errors = 0, [], []
    for _ in range(TRIALS):
        said = rng.choice([-0.5, 0.0, 0.5], people + JUDGED, p=[0.2, 0.2, 0.6])
        opinion = judge(said, rng)
        found = combine(said[:people], opinion[:people], opinion[people:], 0.5)
        alone = combine(said[:people], opinion[:people], [], 0.5)
        low, high = found.interval(CONFIDENCE)
        covered += low <= TRUE_MEAN <= high
        widths.append((high - low) / np.subtract(*reversed(alone.interval(CONFIDENCE))))
        errors.append(found.mean - TRUE_MEAN)
    return covered / TRIALS, float(np.mean(widths)), float(np.mean(errors))


@pytest.mark.parametrize("judge", [good, biased, useless, perverse, constant])
def test_the_interval_holds_the_truth_at_its_level_whatever_the_judge(judge: Judge) -> None:
    coverage, width, error = simulate(judge)
    slack = 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / TRIALS)
    assert coverage >= CONFIDENCE - slack
    assert width <= 1.01
    assert abs(error) < 0.01


def test_a_dozen_people_are_enough_for_honest_intervals() -> None:
    assert simulate(good, people=12)[0] >= CONFIDENCE - 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / TRIALS)


def test_a_good_judge_sharpens_what_people_say() -> None:
    assert simulate(good)[1] < 0.8


def test_believing_the_biased_judge_alone_would_miss_the_truth() -> None:
    rng = np.random.default_rng(2)
    said = rng.choice([-0.5, 0.0, 0.5], 20_000, p=[0.2, 0.2, 0.6])
    assert biased(said, rng).mean() > TRUE_MEAN + 0.1


def test_a_judge_that_repeats_people_is_taken_at_its_word() -> None:
    said = np.tile([0.5, -0.5, 0.0, 0.5], 25)
    assert tuned_weight(said, said, np.tile(said, 100)) == pytest.approx(1.0, abs=0.03)


@given(st.lists(st.sampled_from([-0.5, 0.0, 0.5]), min_size=4, max_size=40), st.floats(-3, 3))
def test_a_constant_added_to_the_judge_changes_nothing(said: list[float], bias: float) -> None:
    there, elsewhere = np.roll(said, 1), np.array(said * 3)
    plain, moved = combine(said, there, elsewhere), combine(said, there + bias, elsewhere + bias)
    assert moved.mean == pytest.approx(plain.mean, abs=1e-9)
    assert moved.error == pytest.approx(plain.error, abs=1e-9)


def test_without_further_questions_people_stand_alone() -> None:
    found = combine([0.5, 0.0, 0.5, -0.5], [0.5, 0.5, 0.5, 0.5], [])
    assert (found.mean, found.weight, found.judged) == (0.125, 0.0, 0)


def test_fifty_equal_verdicts_of_a_bounded_metric_still_leave_an_interval() -> None:
    low, high = combine([0.5] * 50, [0.5] * 50, [0.5] * 100, 0.5).interval(0.9)
    assert high - low > 0.02


def test_the_p_value_agrees_with_the_interval() -> None:
    rng = np.random.default_rng(8)
    said = rng.normal(0.2, 1, 40)
    found = combine(said, said + rng.normal(0, 1, 40), rng.normal(0.2, 1.4, 400))
    low, _ = found.interval(0.9)
    assert found.p_above(low) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("people", "judge"), [([0.5] * 3, [0.5] * 3), ([0.5] * 5, [0.5] * 4), ([float("nan")] * 5, [0.5] * 5)]
)
def test_what_cannot_be_combined_is_refused(people: list[float], judge: list[float]) -> None:
    with pytest.raises(ValueError, match=r"needs 4|finite"):
        combine(people, judge, [0.5])
