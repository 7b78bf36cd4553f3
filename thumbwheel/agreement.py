"""How far reviewers agree beyond chance: Fleiss' kappa with a bootstrap interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RATERS = 2
"""Verdicts of an item that count: its first two, by two people."""
LEAST = 5
"""Items below which there is no interval."""


@dataclass(frozen=True)
class Agreement:
    """Of so many items: the share that both judged alike, and kappa with its interval; None where it cannot be told."""

    items: int
    share: float | None = None
    kappa: float | None = None
    low: float | None = None
    high: float | None = None


def fleiss(verdicts: Sequence[Sequence[str]]) -> float:
    """Return Fleiss' kappa (1971) of items, each with the same number of verdicts; 1 where all are always the same."""
    raters = len(verdicts[0])
    counts = [Counter(item) for item in verdicts]
    alike = [sum(n * (n - 1) for n in count.values()) / (raters * (raters - 1)) for count in counts]
    total = sum(counts, Counter[str]())
    chance = sum((n / (raters * len(verdicts))) ** 2 for n in total.values())
    return 1.0 if chance >= 1 else (sum(alike) / len(alike) - chance) / (1 - chance)


def agreement(
    verdicts: Sequence[Sequence[str]], seed: int = 1, resamples: int = 1000, confidence: float = 0.95
) -> Agreement:
    """Return how far two reviewers of each item agree; the interval is a percentile bootstrap over items."""
    pairs = [tuple(item[:RATERS]) for item in verdicts if len(item) >= RATERS]
    if not pairs:
        return Agreement(0)
    share = sum(one == other for one, other in pairs) / len(pairs)
    if len(pairs) < LEAST:
        return Agreement(len(pairs), share, fleiss(pairs))
    picks = np.random.default_rng(seed).integers(0, len(pairs), size=(resamples, len(pairs)))
    kappas = [fleiss([pairs[i] for i in pick]) for pick in picks]
    low, high = np.quantile(kappas, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Agreement(len(pairs), share, fleiss(pairs), float(low), float(high))
