"""The gate's decision: pass, fail or inconclusive, from paired measurements and rules alone.

A criterion passes only on proof and fails only on proof of harm; all between is inconclusive, with what would settle
it. A judge that failed its own trial has no say: its criteria abstain, unless people spoke beside it. Pure: no files,
no clock, a generator passed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from eval.criteria import Criterion, GateRules, JudgeFloor, Line, Measurement, Outcome, metric_of
from eval.evidence import Evidence, has_people, tolerated, weigh
from eval.statistics import Interval, holm
from thumbwheel.errors import GateError


@dataclass(frozen=True)
class Decision:
    """The gate's word, why, and every criterion's line."""

    outcome: Literal["pass", "fail", "inconclusive"]
    reason: str
    judge_heard: bool
    judge_reason: str
    lines: tuple[Line, ...]


def decide(
    measurements: Mapping[str, Measurement],
    trial: Mapping[str, Any] | None,
    rules: GateRules,
    retrial: str | None = None,
) -> Decision:
    """Return the decision on all criteria; `retrial` is why the judge's trial does not hold for these verdicts, if so.

    Raises:
        GateError: a criterion names a metric that was not measured, or a measurement is not a finite number.
    """
    check(measurements, rules.criteria)
    heard, judge_reason = (False, retrial) if retrial else hear_judge(trial, rules.judge_floor)
    rng = np.random.default_rng(rules.seed)
    verdicts: dict[int, Line] = {}
    evidence: dict[int, Evidence] = {}
    for index, criterion in enumerate(rules.criteria):
        measured = measurements[criterion.metric]
        if metric_of(criterion.metric).judged and not heard and not has_people(measured, rules):
            verdicts[index] = _blank(criterion, measured, "abstain", "the judge is not heard")
        elif reason := unusable(measured, criterion, rules):
            verdicts[index] = _blank(criterion, measured, "inconclusive", reason)
        else:
            evidence[index] = weigh(measured, criterion, rules, rng)
    adjusted = _adjusted({i: e.p for i, e in evidence.items() if e.p is not None})
    for index, found in evidence.items():
        criterion = rules.criteria[index]
        verdicts[index] = judge_line(criterion, measurements[criterion.metric], found, adjusted.get(index), rules)
    lines = tuple(verdicts[index] for index in range(len(rules.criteria)))
    outcome, reason = overall(lines)
    return Decision(outcome, reason, heard, judge_reason, lines)


def check(measurements: Mapping[str, Measurement], criteria: Sequence[Criterion]) -> None:
    """Refuse metrics without a measurement, and numbers that are none."""
    for criterion in criteria:
        where = f"gate criterion '{criterion.name}'"
        if criterion.metric not in measurements:
            raise GateError(
                f"{where} needs the metric '{criterion.metric}', which was not measured (measured: "
                f"{', '.join(sorted(measurements)) or 'none'}); turn it on in params.yaml, or drop the criterion."
            )
        measured = measurements[criterion.metric]
        if len(measured.candidate) != len(measured.champion):
            raise GateError(f"{where}: {len(measured.candidate)} candidate values against {len(measured.champion)}.")
        people = [said for said in measured.people if said is not None]
        if not all(map(math.isfinite, (*measured.candidate, *measured.champion, *people))):
            raise GateError(f"{where}: a value of '{criterion.metric}' is not a finite number; measure it again.")


def hear_judge(trial: Mapping[str, Any] | None, floor: JudgeFloor) -> tuple[bool, str]:
    """Return whether the judge is above the floor, and the reason in words."""
    if not trial or not trial.get("pairs"):
        return False, "it has had no trial"
    share = trial["failed"] / trial["pairs"]
    if share > floor.max_failed or trial["agreement"] is None:
        return False, f"{share:.0%} of its trial's pairs could not be read (at most {floor.max_failed:.0%})"
    faults = []
    for name, least in (("agreement", floor.min_agreement), ("kappa", floor.min_kappa)):
        if trial[name]["low"] < least:
            faults.append(
                f"{name} {trial[name]['value']:.2f}, of which {trial[name]['low']:.2f} is sure (floor {least})"
            )
    lean = trial["position_bias"]["value"]
    if abs(lean - 0.5) > floor.max_position_bias:
        faults.append(
            f"the first answer wins {lean:.0%} of decided showings (at most {0.5 + floor.max_position_bias:.0%})"
        )
    return (False, "; ".join(faults)) if faults else (True, "its trial is above the floor")


def unusable(measured: Measurement, criterion: Criterion, rules: GateRules) -> str | None:
    """Return why a measurement cannot decide anything, or None."""
    count, total = len(measured.candidate), len(measured.candidate) + measured.missing
    if count == 0:
        return f"none of {total} measurements succeeded"
    if measured.missing > rules.max_missing * total:
        return f"{measured.missing} of {total} measurements failed (at most {rules.max_missing:.0%} may)"
    if count < rules.min_pairs and not (criterion.kind == "floor" and total == 1):
        return f"only {count} pairs (at least {rules.min_pairs})"
    return None


def judge_line(
    criterion: Criterion, measured: Measurement, found: Evidence, p: float | None, rules: GateRules
) -> Line:  # fmt: skip
    """Return the line of a criterion that has evidence."""
    outcome, reason = _verdict(criterion, found.interval, p, tolerated(criterion), rules.alpha)
    sign = 1.0 if metric_of(criterion.metric).higher_is_better else -1.0
    shift = criterion.margin if criterion.kind == "floor" else 0.0
    low, high = _ends(criterion, found.interval, sign, shift)
    return Line(
        criterion,
        outcome,
        reason,
        n=found.count,
        missing=measured.missing,
        delta=sign * found.interval.mean + shift,
        low=low,
        high=high,
        p=p,
        mde=found.mde,
        more_questions=max(1, found.needed - found.count) if outcome == "inconclusive" and found.needed else None,
        candidate=float(np.mean(measured.candidate)),
        champion=float(np.mean(measured.champion)),
        method=found.method,
        people=found.people,
    )


def overall(lines: Sequence[Line]) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    """Return the gate's outcome: any proven harm fails; every required one, and one at least, must pass to pass."""
    if failed := [line.criterion.name for line in lines if line.outcome == "fail"]:
        return "fail", f"harm is shown by: {', '.join(failed)}"
    if open_ := [line.criterion.name for line in lines if line.criterion.required and line.outcome != "pass"]:
        return "inconclusive", f"not shown yet: {', '.join(open_)}"
    if not any(line.outcome == "pass" for line in lines):
        return "inconclusive", "no criterion is required, and none is shown"
    return "pass", "every required criterion is shown, and none shows harm"


def _verdict(
    criterion: Criterion, interval: Interval, p: float | None, harm: float, alpha: float
) -> tuple[Outcome, str]:
    if interval.high < -harm:
        return "fail", "harm beyond the margin is shown"
    if criterion.kind == "superiority":
        if p is not None and p <= alpha and interval.low > 0:
            return "pass", "an improvement is shown"
        return "inconclusive", "neither an improvement nor harm is shown"
    if interval.low > -harm or (interval.low == interval.high == -harm):
        return "pass", "the limit is kept" if criterion.kind == "floor" else "no harm beyond the margin"
    return "inconclusive", "the interval reaches over the limit"


def _ends(criterion: Criterion, interval: Interval, sign: float, shift: float) -> tuple[float, float]:
    """Return the interval in the metric's own unit; a floor's within its bounds."""
    low, high = sorted(sign * bound + shift for bound in (interval.low, interval.high))
    if criterion.kind == "floor" and (scale := metric_of(criterion.metric).scale) is not None:
        low, high = (min(max(end, 0.0), scale) for end in (low, high))
    return low, high


def _adjusted(p_values: Mapping[int, float]) -> dict[int, float]:
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))


def _blank(criterion: Criterion, measured: Measurement, outcome: Outcome, reason: str) -> Line:
    both = measured.candidate, measured.champion
    means = [float(np.mean(values)) if values else None for values in both]
    return Line(
        criterion,
        outcome,
        reason,
        n=len(measured.candidate),
        missing=measured.missing,
        candidate=means[0],
        champion=means[1],
    )
