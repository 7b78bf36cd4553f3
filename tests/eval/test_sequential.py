"""Anytime-valid tests: errors stay at their level however often one looks, and plain answers come early."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.sequential import (
    Question,
    Watch,
    capital,
    confidence_interval,
    detectable_effect,
    needed,
    p_above,
    p_below,
)
from eval.statistics import sign_flip_test

ALPHA, STREAMS, LENGTH = 0.05, 600, 300
UNIT = st.lists(st.floats(0, 1), min_size=1, max_size=60)
POINTS = (0.0, 0.5, 1.0)
NEVER: tuple[int, str | None] = (0, None)


def streams(shares: tuple[float, float, float], count: int = STREAMS, length: int = LENGTH) -> np.ndarray:
    """Points of many judged questions: losses, ties and wins by these shares; (count, length)."""
    return np.random.default_rng(11).choice(POINTS, (count, length), p=shares)


def first_answer(stream: np.ndarray, question: Question) -> tuple[int, str | None]:
    """Look after every observation; return how many it took, and the answer."""
    up = np.flatnonzero(capital(stream, question.above) >= 1 / question.alpha)
    down = np.flatnonzero(capital(1 - stream, 1 - question.below) >= 1 / question.alpha)
    when, answer = min(
        [(one[0] + 1, word) for one, word in ((up, "above"), (down, "below")) if len(one)], default=NEVER
    )
    return (when, answer) if answer else (len(stream), None)


def share(answers: list[str | None], answer: str) -> float:
    return sum(one == answer for one in answers) / len(answers)


def level(alpha: float) -> float:
    """The nominal level with three standard errors of the simulation."""
    return alpha + 3 * float(np.sqrt(alpha * (1 - alpha) / STREAMS))


@pytest.mark.parametrize("shares", [(0.5, 0.0, 0.5), (0.2, 0.6, 0.2), (0.05, 0.9, 0.05)])
def test_looking_after_every_question_keeps_the_false_alarms_at_their_level(shares: tuple[float, float, float]) -> None:
    answers = [first_answer(one, Question(0.5, 0.5, ALPHA))[1] for one in streams(shares)]
    assert share(answers, "above") <= level(ALPHA)
    assert share(answers, "below") <= level(ALPHA)


def test_a_fixed_test_that_is_looked_at_after_every_tenth_question_would_cry_wolf() -> None:
    rng = np.random.default_rng(3)
    looks = range(20, 201, 10)
    wrong = [
        any(sign_flip_test(one[:n] - 0.5, rng, 200) <= ALPHA for n in looks)
        for one in streams((0.5, 0.0, 0.5), count=200)
    ]
    assert np.mean(wrong) > 2 * ALPHA


def test_a_plain_win_is_known_long_before_the_end() -> None:
    found = [first_answer(one, Question(0.5, 0.45, ALPHA)) for one in streams((0.1, 0.2, 0.7), count=200)]
    assert share([answer for _, answer in found], "above") > 0.99
    assert np.median([count for count, _ in found]) < LENGTH / 8


def test_a_plain_loss_is_known_as_one() -> None:
    answers = [first_answer(one, Question(0.5, 0.45, ALPHA))[1] for one in streams((0.7, 0.2, 0.1), count=200)]
    assert share(answers, "below") > 0.99


@given(UNIT)
def test_the_interval_holds_the_mean_and_stays_within_the_unit(values: list[float]) -> None:
    found = confidence_interval(values, ALPHA)
    assert 0.0 <= found.low <= found.mean <= found.high <= 1.0


@given(UNIT)
def test_the_p_value_and_the_interval_say_the_same(values: list[float]) -> None:
    low, high = (getattr(confidence_interval(values, ALPHA), end) for end in ("low", "high"))
    if low > 1e-6:
        assert p_above(values, low) == pytest.approx(ALPHA, rel=1e-3)
    if high < 1 - 1e-6:
        assert p_below(values, high) == pytest.approx(ALPHA, rel=1e-3)


@given(UNIT, st.randoms())
def test_the_order_of_the_observations_does_not_matter(values: list[float], random: object) -> None:
    turned = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert p_above(turned, 0.5) == pytest.approx(p_above(values, 0.5))


@given(UNIT, st.floats(0.05, 0.9), st.floats(0.01, 0.1))
def test_a_higher_mean_is_harder_to_be_above(values: list[float], null: float, more: float) -> None:
    assert p_above(values, null + more) >= p_above(values, null) - 1e-12


@given(UNIT)
def test_the_capital_ends_where_the_p_value_says(values: list[float]) -> None:
    assert min(1.0, 1 / capital(values, 0.5)[-1]) == pytest.approx(p_above(values, 0.5))


@given(UNIT)
def test_a_watch_ends_where_the_whole_stream_does(values: list[float]) -> None:
    watch = Watch(Question(0.5, 0.5, ALPHA))
    for value in values:
        watch.add(value)
    assert (watch.answer == "above") == (p_above(values, 0.5) <= ALPHA)
    assert (watch.answer == "below") == (p_below(values, 0.5) <= ALPHA)


def test_ties_alone_never_say_better() -> None:
    assert first_answer(np.full(5000, 0.5), Question(0.5, 0.45, ALPHA))[1] != "above"


def test_the_interval_of_the_true_mean_holds_at_the_very_moment_of_stopping() -> None:
    missed = 0
    for one in streams((0.3, 0.2, 0.5)):
        count, _ = first_answer(one, Question(0.5, 0.45, ALPHA))
        found = confidence_interval(one[:count], ALPHA)
        missed += not found.low <= 0.6 <= found.high
    assert missed / STREAMS <= level(2 * ALPHA)


def test_the_detectable_effect_is_found_about_as_often_as_promised() -> None:
    effect = detectable_effect(0.5, 200, ALPHA, 0.8)
    stream = (np.random.default_rng(4).random((400, 200)) < 0.5 + effect).astype(float)
    power = np.mean([p_above(one, 0.5) <= ALPHA for one in stream])
    assert 0.6 < power < 0.9
    assert needed(0.5, effect * 1.0001, ALPHA, 0.8) == 200


@pytest.mark.parametrize("bad", [[], [1.2], [-0.1], [float("nan")]])
def test_what_is_no_share_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"outside|finite|non-empty"):
        p_above(bad, 0.5)


def test_a_watch_refuses_what_is_no_share() -> None:
    with pytest.raises(ValueError, match="must lie in"):
        Watch(Question(0.5, 0.5, ALPHA)).add(float("nan"))
