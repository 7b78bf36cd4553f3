"""Tests that may be looked at after every observation: betting e-processes and confidence sequences for a bounded mean.

Stop whenever you like: the chance that a true "the mean is at most m" is ever rejected stays at or under alpha, however
often one looks. So judging ends as soon as the answer is known, and so can a canary. Observations lie in [0, 1]; to
compare two arms, feed (a - b + 1) / 2 of paired requests and ask about one half. Pure.

A gambler who stakes the fraction c of the capital on "the mean is above m" has, after x, (1 - c) + c x / m times as
much; were the mean at most m, that capital could not be expected to grow (Waudby-Smith and Ramdas, 2024,
arXiv:2010.09686, the mixture of section B). By Ville's inequality it reaches 1 / alpha with probability alpha at most.
The capital is the mean over gamblers with fixed fractions: it needs no estimate of the variance, does not depend on
the order of the observations, and falls as m grows, so that its level set is an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.statistics import Floats, Interval, finite

FRACTIONS: Floats = np.geomspace(0.01, 0.95, 16)
"""The gamblers' stakes: small ones for the small effects of long watches, large ones for plain effects seen early."""
HALVINGS = 40
"""Steps of the search for an end of an interval; its error is below 1e-12."""

Answer = Literal["above", "below"]


@dataclass(frozen=True)
class Question:
    """What is asked of a mean: is it above `above`, is it below `below`? Each is answered at level `alpha`."""

    above: float
    below: float
    alpha: float


class Watch:
    """One question asked of a growing stream, a number of numbers a look: for controllers that see one at a time."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.count = 0
        self._up, self._down = np.zeros(len(FRACTIONS)), np.zeros(len(FRACTIONS))

    def add(self, value: float) -> Answer | None:
        """Take an observation in [0, 1]; return the answer once it is known, which it may stay or, late, lose."""
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"an observation is {value}; it must lie in [0, 1].")
        self.count += 1
        self._up += _log_growth(np.array([value]), self.question.above)
        self._down += _log_growth(np.array([1.0 - value]), 1.0 - self.question.below)
        return self.answer

    @property
    def answer(self) -> Answer | None:
        needed = -math.log(self.question.alpha)
        if _log_mean(self._up) >= needed:
            return "above"
        return "below" if _log_mean(self._down) >= needed else None


def capital(values: Sequence[float] | Floats, null: float) -> Floats:
    """Return the capital against "the mean is at most `null`" after each observation, (n,); 1 / alpha rejects it."""
    array = _unit(values)
    logs = np.log1p(FRACTIONS[:, None] * (array[None, :] / _testable(null) - 1.0)).cumsum(axis=1)
    top = logs.max(axis=0)
    return np.asarray(np.exp(np.minimum(700.0, top + np.log(np.exp(logs - top).mean(axis=0)))))


def p_above(values: Sequence[float] | Floats, null: float) -> float:
    """Return a p-value of "the mean is above `null`" that holds at any stopping time: one over the capital."""
    return min(1.0, math.exp(-_log_capital(_unit(values), null)))


def p_below(values: Sequence[float] | Floats, null: float) -> float:
    """Return the same of "the mean is below `null`"."""
    return p_above(1.0 - _unit(values), 1.0 - null)


def confidence_interval(values: Sequence[float] | Floats, alpha: float) -> Interval:
    """Return the mean with one-sided bounds of level 1 - `alpha` each, which hold at any stopping time."""
    array = _unit(values)
    mean = float(array.mean())
    return Interval(mean, min(mean, _lower(array, alpha)), max(mean, 1.0 - _lower(1.0 - array, alpha)))


def detectable_effect(deviation: float, count: int, alpha: float, power: float) -> float:
    """Return the smallest true difference that `count` observations find with `power`, for the gambler who stakes best.

    The log of that capital is about normal with mean d and variance 2 d, d = n (effect / deviation)^2 / 2.
    """
    return _effect_units(alpha, power) * deviation / math.sqrt(count)


def needed(deviation: float, effect: float, alpha: float, power: float) -> int | None:
    """Return how many observations settle a true difference of `effect` with `power`; None where no number would."""
    if effect == 0 or deviation == 0:
        return None
    return math.ceil((_effect_units(alpha, power) * deviation / abs(effect)) ** 2)


def _effect_units(alpha: float, power: float) -> float:
    from scipy.special import ndtri

    z = float(ndtri(power))
    return z + math.sqrt(z * z - 2 * math.log(alpha))


def _lower(values: Floats, alpha: float) -> float:
    """Return the largest m that the capital against "the mean is at most m" still rejects; 0 where it rejects none."""
    low, high, level = 0.0, float(values.mean()), -math.log(alpha)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        rejected = middle > 0 and _log_capital(values, middle) >= level
        low, high = (middle, high) if rejected else (low, middle)
    return low


def _log_capital(values: Floats, null: float) -> float:
    return _log_mean(_log_growth(values, null))


def _log_growth(values: Floats, null: float) -> Floats:
    """Return the log capital of each gambler, (J,)."""
    return np.asarray(np.log1p(FRACTIONS[:, None] * (values[None, :] / _testable(null) - 1.0)).sum(axis=1))


def _testable(null: float) -> float:
    if not 0.0 < null <= 1.0:
        raise ValueError(f"a mean of {null} cannot be tested; it must lie in (0, 1].")
    return null


def _log_mean(logs: Floats) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def _unit(values: Sequence[float] | Floats) -> Floats:
    array = finite(values)
    if array.min() < 0.0 or array.max() > 1.0:
        raise ValueError(f"an observation lies outside [0, 1]: {array.min()} to {array.max()}.")
    return array
