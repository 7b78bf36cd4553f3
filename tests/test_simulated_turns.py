"""The simulated turns that the gate's error rates rest on: they stop where a real session does, and wobble as said."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulated_turns import QUESTIONS, WOBBLE, World, judged, people_points, preference
from eval.session import SequentialParams, decided

RULES = SequentialParams(alpha=0.025, margin=0.05, batch=8, min_questions=12)


@pytest.mark.parametrize("gain", [-1.5, 0.0, 1.5])
def test_simulated_judging_stops_where_a_real_session_would(gain: float) -> None:
    points = people_points(World("", gain=gain), np.random.default_rng(1), 100)[1]
    looks = [*range(8, 100, 8), 100]
    count = next((look for look in looks if decided(points[:look], RULES)), 100)
    assert len(preference(points, RULES).candidate) == count


def test_the_mean_of_a_judges_grades_wobbles_from_run_to_run_as_in_mt_bench() -> None:
    rng = np.random.default_rng(2)
    means = [np.subtract(*judged(World(""), rng, QUESTIONS)[0]).mean() for _ in range(400)]
    expected = np.sqrt(2 * WOBBLE**2 + 1 / QUESTIONS)
    assert np.std(means) == pytest.approx(expected, rel=0.15)
    assert abs(np.mean(means)) < 0.05


def test_a_judge_that_likes_length_prefers_the_longer_of_two_equals_and_people_do_not() -> None:
    people, judge = people_points(World("", length_bias=1.0), np.random.default_rng(3), 4000)
    assert judge.mean() > 0.55
    assert people.mean() == pytest.approx(0.5, abs=0.03)
