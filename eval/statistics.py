"""Paired statistics for the gate: bootstrap intervals, sign-flip tests, Holm's correction, power.

Everything is pure: arrays in, numbers out, randomness from a generator that the caller passes in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CHUNK = 2_000_000
"""How many resampled values to hold at once; bounds memory at 16 MB a chunk."""
EXACT_PAIRS = 14
"""Up to this many pairs, all sign patterns are tried instead of a sample of them."""


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    deltas: Sequence[float] | Floats,
    rng: np.random.Generator,
    resamples: int,
    confidence: float,
    scale: float | None = None,
) -> Interval:
    """Return the mean of paired differences with its expanded percentile bootstrap interval.

    The plain percentile interval (Efron and Tibshirani, 1993) is too short for few pairs, as one by the normal instead
    of Student's t would be; the tails are moved out by just that much (Hesterberg, 2015, arXiv:1411.5279, section 5.3).

    `scale` is the largest difference that a bounded metric can have (1 for a rate), or None for an unbounded one. With
    it, the resamples are drawn from the data and four half-weight pseudo-pairs (+scale, -scale, 0, 0), the smoothing
    of Agresti and Min (2005): forty equal pairs then still leave an honest interval, not one of width zero.
    """
    values = finite(deltas)
    means = _resampled_means(_smoothed(values, scale), len(values), rng, resamples)
    tail = _expanded((1 - confidence) / 2, len(values))
    low, high = np.quantile(means, [tail, 1 - tail])
    mean = float(values.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean))


def sign_flip_test(deltas: Sequence[float] | Floats, rng: np.random.Generator, resamples: int) -> float:
    """Return the one-sided p-value of "the mean difference is above zero" by flipping signs (Fisher's randomisation).

    Exact up to 14 pairs; else a Monte Carlo estimate that counts the observed pattern, so that it is never zero.
    """
    values = finite(deltas)
    observed = values.sum() - 1e-12 * np.abs(values).sum()
    if len(values) <= EXACT_PAIRS:
        patterns = ((np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1) * 2.0 - 1.0
        return float(np.mean(patterns @ values >= observed))
    hits, left = 0, resamples
    while left > 0:
        rows = min(left, max(1, CHUNK // len(values)))
        signs = rng.integers(0, 2, size=(rows, len(values)), dtype=np.int8) * 2.0 - 1.0
        hits += int(np.count_nonzero(signs @ values >= observed))
        left -= rows
    return (hits + 1) / (resamples + 1)


def wilson(hits: int, total: int, confidence: float) -> Interval:
    """Return a share with its score interval (Wilson, 1927), which is honest at 0 and 1 and for few cases."""
    z = _z((1 + confidence) / 2)
    share, weight = hits / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def exact_share(hits: int, total: int, confidence: float) -> Interval:
    """Return a share with its exact interval (Clopper and Pearson, 1934): each bound errs at its level or less."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, total - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, total - hits, 1 - tail)) if hits < total else 1.0
    return Interval(hits / total, low, high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the whole family by Holm's step-down method (1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def detectable_effect(deviation: float, pairs: int, alpha: float, power: float) -> float:
    """Return the smallest true mean difference that a one-sided test of `pairs` pairs finds with `power`.

    `deviation` is the standard deviation of the paired differences; normal approximation.
    """
    return (_z(1 - alpha) + _z(power)) * deviation / math.sqrt(pairs)


def pairs_needed(deviation: float, effect: float, alpha: float, power: float) -> int | None:
    """Return how many pairs settle a true difference of `effect` with `power`; None where no number would."""
    if effect == 0 or deviation == 0:
        return None
    return math.ceil(((_z(1 - alpha) + _z(power)) * deviation / abs(effect)) ** 2)


def kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Cohen's kappa of two raters: agreement beyond chance, 1 where chance alone would agree always."""
    total = len(first)
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / total
    chance = sum(
        (first.count(label) / total) * (second.count(label) / total)
        for label in sorted({*first, *second})
    )  # fmt: skip
    return 1.0 if chance >= 1.0 else (agreed - chance) / (1 - chance)


def finite(values: Sequence[float] | Floats) -> Floats:
    """Return a non-empty one-dimensional array of finite numbers, or raise ValueError."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError("statistics need a non-empty list of differences.")
    if not np.isfinite(array).all():
        raise ValueError("a difference is not a finite number; a failed measurement must be left out, not scored.")
    return array


def _smoothed(values: Floats, scale: float | None) -> Floats:
    """Return what to draw from; every value stands there twice beside pseudo-pairs that so weigh a half."""
    return values if scale is None else np.concatenate([np.repeat(values, 2), [scale, -scale, 0.0, 0.0]])


def _resampled_means(pool: Floats, size: int, rng: np.random.Generator, resamples: int) -> Floats:
    means, left = [], resamples
    while left > 0:
        rows = min(left, max(1, CHUNK // size))
        means.append(pool[rng.integers(0, len(pool), size=(rows, size), dtype=np.int32)].mean(axis=1))
        left -= rows
    return np.concatenate(means)


def _expanded(tail: float, size: int) -> float:
    """Return the tail of the normal that lies where Student's does, for a spread that divides by n and not n - 1."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(math.sqrt(size / (size - 1)) * stdtrit(size - 1, tail))) if size > 1 else tail


def _z(probability: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(probability))
