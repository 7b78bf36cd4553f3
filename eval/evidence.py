"""What the measurements of one criterion show: an interval, a p-value, and what it would take to see more.

Three ways, by how the measurements came about: paired bootstrap and sign flips (exact binomial for a rate against a
limit) for a fixed set of questions; a betting
confidence sequence where judging stopped as soon as the answer was known; prediction-powered inference where people
spoke beside the judge. Gains are turned so that more is better.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from eval import sequential
from eval.criteria import Criterion, GateRules, Measurement, metric_of
from eval.ppi import FEWEST, Combined, combine
from eval.statistics import (
    Floats,
    Interval,
    detectable_effect,
    exact_share,
    paired_bootstrap,
    pairs_needed,
    sign_flip_test,
)
from thumbwheel.errors import GateError


@dataclass(frozen=True)
class Evidence:
    """What is known of a criterion's gain. `needed`: pairs that would settle it; `mde`: the smallest gain seen."""

    count: int
    interval: Interval
    p: float | None
    mde: float | None
    needed: int | None
    method: str
    people: int = 0


def weigh(measured: Measurement, criterion: Criterion, rules: GateRules, rng: np.random.Generator) -> Evidence:
    """Return the evidence on a criterion; a floor's gain is the distance from its limit.

    Raises:
        GateError: judging stopped early on a metric that has no bounds.
    """
    sign = 1.0 if metric_of(criterion.metric).higher_is_better else -1.0
    candidate, champion = np.array(measured.candidate), np.array(measured.champion)
    gains = sign * (candidate - (criterion.margin if criterion.kind == "floor" else champion))
    if len(gains) == 1:
        return Evidence(1, Interval(*[float(gains[0])] * 3), None, None, None, "a single number")
    if has_people(measured, rules):
        return _by_people(measured, gains, sign, criterion, rules)
    if measured.stopped:
        return _by_betting(gains, criterion, rules)
    return _by_bootstrap(gains, sign, criterion, rules, rng)


def has_people(measured: Measurement, rules: GateRules) -> bool:
    """Tell whether people spoke often enough for their word to count."""
    return sum(said is not None for said in measured.people) >= max(FEWEST, rules.min_pairs)


def tolerated(criterion: Criterion) -> float:
    """Return how much harm, in gains, is proven only beyond."""
    return 0.0 if criterion.kind == "floor" else criterion.margin


def _by_bootstrap(
    gains: Floats, sign: float, criterion: Criterion, rules: GateRules, rng: np.random.Generator
) -> Evidence:
    scale = metric_of(criterion.metric).scale
    shift = sign * criterion.margin if criterion.kind == "floor" else 0.0
    pooled = gains + shift
    raw, method = _interval(pooled, criterion, scale, rules, rng)
    interval = Interval(raw.mean - shift, raw.low - shift, raw.high - shift)
    p = sign_flip_test(gains, rng, rules.resamples) if criterion.kind == "superiority" else None
    deviation, count = _spread(pooled, scale), len(gains)
    needed = pairs_needed(deviation, _distance(interval, criterion), rules.alpha, rules.power)
    mde = detectable_effect(deviation, count, rules.alpha, rules.power)
    return Evidence(count, interval, p, mde, needed, method)


def _interval(
    values: Floats, criterion: Criterion, scale: float | None, rules: GateRules, rng: np.random.Generator
) -> tuple[Interval, str]:
    """Return the interval of a mean and its name; a rate against a limit has an exact one.

    The bootstrap's pseudo-pairs stand for the difference of two rates. Of a single small rate they promise too much.
    """
    confidence = 1 - 2 * rules.alpha
    if criterion.kind == "floor" and scale == 1.0 and np.isin(np.abs(values), (0.0, 1.0)).all():
        found = exact_share(int(np.abs(values).sum()), len(values), confidence)
        ends = (found.low, found.high) if metric_of(criterion.metric).higher_is_better else (-found.high, -found.low)
        return Interval(float(values.mean()), *ends), "exact binomial"
    return paired_bootstrap(values, rng, rules.resamples, confidence, scale), "paired bootstrap"


def _by_betting(gains: Floats, criterion: Criterion, rules: GateRules) -> Evidence:
    """Map gains from [-scale, scale] to [0, 1], where one half is no difference, and back."""
    scale = metric_of(criterion.metric).scale
    if scale is None or criterion.kind == "floor":
        raise GateError(f"gate criterion '{criterion.name}': '{criterion.metric}' cannot be stopped early.")
    values = (gains + scale) / (2 * scale)
    found = sequential.confidence_interval(values, rules.alpha)
    interval = Interval(*(2 * scale * (end - 0.5) for end in (found.mean, found.low, found.high)))
    p = sequential.p_above(values, 0.5) if criterion.kind == "superiority" else None
    deviation = _spread(gains, scale)
    needed = sequential.needed(deviation, _distance(interval, criterion), rules.alpha, rules.power)
    mde = sequential.detectable_effect(deviation, len(gains), rules.alpha, rules.power)
    return Evidence(len(gains), interval, p, mde, needed, "betting confidence sequence, stopped when known")


def _by_people(
    measured: Measurement, gains: Floats, sign: float, criterion: Criterion, rules: GateRules
) -> Evidence:  # fmt: skip
    spoke = np.array([said is not None for said in measured.people])
    against = criterion.margin if criterion.kind == "floor" else np.array(measured.champion)[spoke]
    people = sign * (np.array([said for said in measured.people if said is not None]) - against)
    found = combine(people, gains[spoke], gains[~spoke], metric_of(criterion.metric).scale)
    interval = Interval(found.mean, *found.interval(1 - 2 * rules.alpha))
    p = found.p_above(0.0) if criterion.kind == "superiority" else None
    deviation = found.error * math.sqrt(found.people)  # of one person's verdict, the judge's help taken off
    needed = pairs_needed(deviation, _distance(interval, criterion), rules.alpha, rules.power)
    mde = detectable_effect(deviation, found.people, rules.alpha, rules.power)
    settled = None if needed is None else needed + found.judged
    return Evidence(len(gains), interval, p, mde, settled, _said_by(found), found.people)


def _said_by(found: Combined) -> str:
    return (
        f"people's verdicts on {found.people} pairs, the judge's on {found.judged} more with weight {found.weight:.2f}"
    )


def _distance(interval: Interval, criterion: Criterion) -> float:
    """Return how far the mean is from what has to be shown: zero for superiority, the limit for the rest."""
    return interval.mean + (0.0 if criterion.kind == "superiority" else tolerated(criterion))


def _spread(values: Floats, scale: float | None) -> float:
    """Return the standard deviation, with the same half-weight pseudo-pairs as the interval where there is a scale."""
    if scale is None:
        return float(values.std(ddof=1))
    mean = values.sum() / (len(values) + 2)
    square = ((values**2).sum() + scale**2) / (len(values) + 2)
    return math.sqrt(max(0.0, float(square - mean**2)))


def difference(measured: Measurement, metric: str, rules: GateRules) -> Interval | None:
    """Return candidate minus champion on the same questions, with its interval; None where there is no honest one.

    One pair has no interval, and where judging stopped as soon as its answer was known the bootstrap's is too narrow.
    """
    if len(measured.candidate) < 2 or measured.stopped:
        return None
    deltas = np.subtract(measured.candidate, measured.champion)
    rng = np.random.default_rng([rules.seed, zlib.crc32(metric.encode())])
    return paired_bootstrap(deltas, rng, rules.resamples, 1 - 2 * rules.alpha, metric_of(metric).scale)
