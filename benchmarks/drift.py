"""How often the weekly watch cries wolf in a year, and how soon it finds a change that is there: simulated looks.

    python -m benchmarks.drift [--releases 300]

The criteria and the number of questions are those of `params.yaml`. Beside it stands a fixed test every week: whether
the exact interval of a share lies beyond its margin, the level shared among the shares, nothing done about the weeks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.drift import FAILED, MEASURES, Claim, Criterion, evidence
from eval.statistics import exact_share, wilson
from stages.watch import WatchParams
from thumbwheel.params import load_params
from thumbwheel.settings import REPOSITORY

WEEKS = 52


@dataclass(frozen=True)
class Watched:
    """One criterion, how many questions it is seen on, and how its true mean moves: a share, or a mean change."""

    criterion: Criterion
    count: int
    true: float

    def weekly(self, rng: np.random.Generator) -> list[Claim]:
        """Return a year of looks; a tenth of the answers changes a mean by itself, up and down alike."""
        draws = rng.random((WEEKS, self.count))
        if is_share(self.criterion):
            values, null = (draws < self.true).astype(float), self.criterion.margin
        else:
            values = np.where(draws < 0.05, 0.0, np.where(draws > 0.95 - self.true, 1.0, 0.5))
            null = (1 + self.criterion.margin) / 2
        return [Claim(self.criterion.measure, self.criterion, tuple(map(float, week)), null) for week in values]


def is_share(criterion: Criterion) -> bool:
    return criterion.measure == FAILED or MEASURES[criterion.measure].is_share


def first_alarm(looks: Sequence[Claim], needed: float) -> int | None:
    """Return the week of the first alarm, from 1; None where there is none in a year."""
    e_values = [claim.e_value for claim in looks]
    return next((week for week in range(1, WEEKS + 1) if evidence(e_values[:week]) >= needed), None)


def fixed_alarm(looks: Sequence[Claim], level: float) -> bool:
    """Tell whether a test of `level` in every week alone would have cried wolf about a share."""
    rejected = (exact_share(int(sum(c.values)), len(c.values), 1 - 2 * level).low > c.null for c in looks)
    return any(rejected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--releases", type=int, default=300)
    releases = parser.parse_args().releases
    params = load_params("watch", WatchParams, REPOSITORY / "params.yaml")
    count = sum(one.max_questions for one in params.sets.values())
    sizes = {one.measure: count for one in params.criteria} | {"wrong": params.sets["golden"].max_questions}
    falls = sum(one.measure != FAILED and MEASURES[one.measure].falls_too for one in params.criteria)
    needed = (len(params.criteria) + falls) / params.alpha
    print(
        f"{count} questions, {releases} releases of {WEEKS} weeks, alpha {params.alpha:.0%}, drift from {needed:.0f} on"
    )
    _wolf(params, sizes, needed, releases)
    _power(params, sizes, needed, releases)


def _wolf(params: WatchParams, sizes: dict[str, int], needed: float, releases: int) -> None:
    print("\n| a release whose answers | called drift in a year | by a fixed test every week |\n|---|---:|---:|")
    shares = [one for one in params.criteria if is_share(one)]
    rows = {
        "wobble: one in twenty differs": [(one, 0.05 if is_share(one) else 0.0) for one in params.criteria],
        "move by exactly the margin, in every share": [(one, one.margin) for one in shares],
    }
    for title, trues in rows.items():
        rng, ours, fixed = np.random.default_rng(7), 0, 0
        for _ in range(releases):
            years = [Watched(one, sizes[one.measure], true).weekly(rng) for one, true in trues]
            ours += any(first_alarm(looks, needed) for looks in years)
            tested = [looks for looks, (one, _) in zip(years, trues, strict=True) if is_share(one)]
            fixed += any(fixed_alarm(looks, params.alpha / len(shares)) for looks in tested)
        print(f"| {title} | {_share(ours, releases)} | {_share(fixed, releases)} |")


def _power(params: WatchParams, sizes: dict[str, int], needed: float, releases: int) -> None:
    changes = {"changed": (0.4, 0.5, 0.6), "refused": (0.2, 0.3, 0.4), "sources": (0.3, 0.4, 0.5)}
    print("\n| what changed | found at the first look | within four | within a year |\n|---|---:|---:|---:|")
    criteria = {one.measure: one for one in params.criteria}
    for measure, trues in changes.items():
        for true in trues:
            rng = np.random.default_rng(8)
            watched = Watched(criteria[measure], sizes[measure], true)
            weeks = [first_alarm(watched.weekly(rng), needed) for _ in range(releases)]
            found = [sum(week is not None and week <= by for week in weeks) for by in (1, 4, WEEKS)]
            print(
                f"| {_title(measure, true, criteria[measure])} | {' | '.join(f'{n / releases:.0%}' for n in found)} |"
            )


def _title(measure: str, true: float, criterion: Criterion) -> str:
    points = "" if MEASURES[measure].is_share else " more"
    return f"{MEASURES[measure].title}: {true:.0%}{points} (margin {criterion.margin:.0%})"


def _share(hits: int, total: int) -> str:
    interval = wilson(hits, total, 0.95)
    return f"{interval.mean:.1%} ({interval.low:.1%} to {interval.high:.1%})"


if __name__ == "__main__":
    main()
