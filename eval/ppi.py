"""People's verdicts and a judge's put together without bias: prediction-powered inference.

The judge may be as wrong as it likes: what it says counts only as far as people's verdicts on the same questions show
that it says something. Pure: arrays in, numbers out. After Angelopoulos et al. (2023, arXiv:2301.09633) and, for the
weight, Angelopoulos, Duchi and Zrnic (PPI++, 2023, arXiv:2311.01453).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.statistics import Floats, finite

FEWEST = 4
"""People's verdicts below which there is no interval: mean and weight are fitted, so two degrees are gone."""


@dataclass(frozen=True)
class Combined:
    """The estimated mean of people's verdicts, and what it rests on."""

    mean: float
    error: float
    """Standard error of the mean."""
    weight: float
    """How far the judge is heard, 0 (people alone) to 1 (its word taken, corrected only for its bias)."""
    people: int
    judged: int
    """Questions on which only the judge spoke."""

    @property
    def freedom(self) -> int:
        return self.people - 2

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval by Student's t, which the small number of people asks for."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        return self.mean - half, self.mean + half

    def p_above(self, null: float) -> float:
        """Return the one-sided p-value of "the mean is above `null`"."""
        from scipy.special import stdtr

        if self.error == 0:
            return 0.0 if self.mean > null else 1.0
        return float(stdtr(self.freedom, (null - self.mean) / self.error))


def combine(
    people: Sequence[float] | Floats,
    judge_there: Sequence[float] | Floats,
    judge_elsewhere: Sequence[float] | Floats,
    scale: float | None = None,
) -> Combined:
    """Return the mean of people's verdicts over all questions, from people on some of them and the judge on all.

    `people` and `judge_there` are (n,) and of the same questions, a random sample of all; `judge_elsewhere` is (N,).
    The estimate is mean(people) + weight (mean(judge_elsewhere) - mean(judge_there)): whatever the judge's bias, it
    stands in both means and cancels. `scale` is the largest value of a bounded metric; with it two half-weight
    pseudo-verdicts at either end keep fifty equal verdicts from giving an interval of width zero, as in
    `eval.statistics.paired_bootstrap`.

    Raises:
        ValueError: fewer than four verdicts by people, lengths that differ, or a value that is no finite number.
    """
    said, same = finite(people), finite(judge_there)
    other = finite(judge_elsewhere) if len(judge_elsewhere) else np.empty(0)
    if len(said) < FEWEST or len(said) != len(same):
        raise ValueError(f"{len(said)} verdicts by people with {len(same)} of the judge; needs {FEWEST} of both.")
    weight = tuned_weight(said, same, other)
    shift = float(other.mean() - same.mean()) if len(other) else 0.0
    variance = _residual_variance(said - weight * same, scale) / len(said)
    variance += weight**2 * float(other.var()) / len(other) if len(other) else 0.0
    return Combined(float(said.mean()) + weight * shift, math.sqrt(variance), weight, len(said), len(other))


def tuned_weight(people: Floats, judge_there: Floats, judge_elsewhere: Floats) -> float:
    """Return the weight that makes the interval narrowest (PPI++, section 6), held within 0 and 1.

    A judge whose verdicts do not go with people's gets about 0, so that it cannot widen the interval.
    """
    if not len(judge_elsewhere):
        return 0.0
    spread = float(np.concatenate([judge_there, judge_elsewhere]).var())
    if spread == 0:
        return 0.0
    together = float(np.cov(people, judge_there)[0, 1])
    return min(1.0, max(0.0, together / (spread * (1 + len(people) / len(judge_elsewhere)))))


def _residual_variance(residuals: Floats, scale: float | None) -> float:
    """Return the variance with two degrees taken by mean and weight, and the pseudo-verdicts of a bounded metric."""
    count = len(residuals)
    squares = float(((residuals - residuals.mean()) ** 2).sum())
    if scale is None:
        return squares / (count - 2)
    return (squares + scale**2) / (count + 2) * count / (count - 2)
