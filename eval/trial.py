"""The judge on trial: how well its verdicts agree with people's on labelled pairs, and which way it leans.

Each pair is shown in both orders. Everything is pure; intervals of shares of pairs are Wilson's, the rest are by
bootstrap over pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.ruling import resolve
from eval.statistics import kappa, wilson

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A labelled pair with the judge's winners (`a`, `b`, `tie`) when A stood first and when B did; None = failed."""

    question: str
    kind: str
    label: str
    a_longer: bool
    a_first: str | None
    b_first: str | None
    own: str | None = None
    """Which answer the judge's own model wrote (`a` or `b`), where that is known and only one of them is."""

    @property
    def verdict(self) -> str:
        """The joint verdict of both orders; one that flips is a tie."""
        return resolve(str(self.a_first), str(self.b_first))[0]

    @property
    def failed(self) -> bool:
        return self.a_first is None or self.b_first is None


def try_judge(cases: Sequence[Case], rng: np.random.Generator, resamples: int, confidence: float) -> dict[str, Any]:
    """Return the facts of the trial: counts, and each measure with its interval (or null where nothing could be read).

    - `agreement`: share of pairs whose joint verdict is the label; `kappa`: the same beyond chance (Cohen, 1960).
    - `position_bias`: share of decided showings won by the answer that stood first; one half is unbiased.
    - `length_bias`: how much more often the judge errs towards the longer answer than away from it, from -1 to 1; zero
      is unbiased, and so is a judge that guesses, or that only looks at the order. Null without pairs of both kinds.
    - `self_preference`: the same of the answers that the judge's own model wrote; null where no pair names one.
    - `flips`: share of pairs whose verdict turned with the order.
    - `categories`: counts, agreement and kappa of each kind of pair.
    """
    facts = _measured(cases, MEASURES, rng, resamples, confidence)
    own = [case for case in cases if case.own and not case.failed]
    facts["self_preference"] = _with_interval(self_preference, own, rng, resamples, confidence)
    facts["categories"] = {
        kind: _measured([case for case in cases if case.kind == kind], BY_CATEGORY, rng, resamples, confidence)
        for kind in sorted({case.kind for case in cases})
    }
    return facts


def retrial(trial: Row, verdicts: Iterable[Row]) -> str | None:
    """Return why the trial does not hold for these verdicts, or None: another judge, or a prompt reworded since."""
    judges, labels = set(), set()
    for row in verdicts:
        if row["kind"] != "human" and row["kind"] != "trial":
            judges.add(row["judge"])
            labels |= {row["prompt"]} if row["prompt"] else set()
    if strangers := sorted(judges - {trial.get("judge")}):
        return f"the verdicts are by {', '.join(strangers)}, but {trial.get('judge')} stood trial; try this judge too"
    tried = {label.partition("@")[0]: label for label in trial.get("prompts", ())}
    reworded = sorted(label for label in labels if tried.get(label.partition("@")[0], label) != label)
    if reworded:
        return f"it was asked by {', '.join(reworded)}, which is not the prompt of its trial; try it again"
    return None


def agreement(cases: Sequence[Case]) -> float:
    return float(np.mean([case.verdict == case.label for case in cases]))


def kappa_of(cases: Sequence[Case]) -> float:
    return kappa([case.verdict for case in cases], [case.label for case in cases])


def position_bias(cases: Sequence[Case]) -> float:
    """Return the share of decided showings that the first answer won, or a half where none was decided."""
    won = [case.a_first == "a" for case in cases if case.a_first != "tie"]
    won += [case.b_first == "b" for case in cases if case.b_first != "tie"]
    return float(np.mean(won)) if won else 0.5


def length_bias(cases: Sequence[Case]) -> float:
    """Return P(longer wins | shorter is right) - P(shorter wins | longer is right) over decided showings."""
    return _leaning(["a" if case.a_longer else "b" for case in cases], cases)


def self_preference(cases: Sequence[Case]) -> float:
    """Return P(own wins | the other is right) - P(the other wins | own is right) over decided showings."""
    return _leaning([str(case.own) for case in cases], cases)


def flips(cases: Sequence[Case]) -> float:
    return float(np.mean([resolve(str(case.a_first), str(case.b_first))[1] for case in cases]))


Measure = Callable[[Sequence[Case]], float]
MEASURES: dict[str, Measure] = {
    "agreement": agreement,
    "kappa": kappa_of,
    "position_bias": position_bias,
    "length_bias": length_bias,
    "flips": flips,
}
SHARES = (agreement, flips)
BY_CATEGORY: dict[str, Measure] = {"agreement": agreement, "kappa": kappa_of}


def _leaning(marked: Sequence[str], cases: Sequence[Case]) -> float:
    """Return how much oftener the errors go towards the marked answers; NaN where either kind of error cannot be."""
    towards: list[bool] = []
    away: list[bool] = []
    for name, case in zip(marked, cases, strict=True):
        if case.label != "tie":
            wrong = [said != case.label for said in (case.a_first, case.b_first) if said != "tie"]
            (away if case.label == name else towards).extend(wrong)
    return float(np.mean(towards) - np.mean(away)) if towards and away else math.nan


def _measured(
    cases: Sequence[Case],
    measures: Mapping[str, Measure],
    rng: np.random.Generator,
    resamples: int,
    confidence: float,
) -> dict[str, Any]:
    judged = [case for case in cases if not case.failed]
    facts: dict[str, Any] = {"pairs": len(cases), "failed": len(cases) - len(judged)}
    return facts | {
        name: _with_interval(measure, judged, rng, resamples, confidence) for name, measure in measures.items()
    }


def _with_interval(
    measure: Measure, cases: Sequence[Case], rng: np.random.Generator, resamples: int, confidence: float
) -> dict[str, float] | None:
    if not cases:
        return None
    if measure in SHARES:
        share = wilson(round(measure(cases) * len(cases)), len(cases), confidence)
        return {"value": share.mean, "low": share.low, "high": share.high}
    picks = rng.integers(0, len(cases), size=(resamples, len(cases)))
    value, values = measure(cases), [measure([cases[i] for i in pick]) for pick in picks]
    if math.isnan(value):
        return None
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {"value": value, "low": min(value, float(low)), "high": max(value, float(high))}
