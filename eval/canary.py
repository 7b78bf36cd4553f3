"""The canary's statistics: two arms that answer different users, compared for as long as one likes, looked at any time.

A criterion is a number in [0, 1] of each answer, where more is worse. What is tested is a stream of differences, canary
minus champion: of both arms' answers to one prompt, or of blocks in time. A block ends with the first answer by which
both arms have one; its difference is that of their means. So whatever drifts over the day, and however the share of the
canary changes, both arms of a difference saw the same, and all of the champion's answers help.

The tests are those of `eval.sequential`: looking again costs nothing. Harm beyond the margin in any criterion rolls
back, so its level is shared by the criteria, and by the phases (a replay, then users); promotion wants every criterion
within its margin, each at the full level, for all must hold (Berger, 1982, the intersection-union test). Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from eval.sequential import capital, confidence_interval
from eval.statistics import Floats
from thumbwheel.arms import CANARY, CONTROL
from thumbwheel.ledger import Entry
from thumbwheel.params import Params

Metric = Literal["errors", "first_token", "thumbs_down", "guarded"]
State = Literal["harm", "safe", "open", "abstains"]
Outcome = Literal["roll_back", "promote", "wait"]
MAY_ABSTAIN: tuple[Metric, ...] = ("thumbs_down", "first_token")
PHASES = 2
"""A replay and the users; each may call harm with half of the level."""


@dataclass(frozen=True)
class Observation:
    """One answer, or one thumb: whose, of which arm, and the criterion's value in [0, 1]."""

    unit: str
    arm: str
    value: float


class Criterion(Params):
    """What may not get worse by more than `margin`; of `first_token`, in shares of `scale` seconds, where it is cut."""

    metric: Metric
    margin: float = Field(gt=0, lt=1)
    scale: float = Field(gt=0)


@dataclass(frozen=True)
class Verdict:
    """What is known of a criterion. Means are those of the arms, `low` and `high` bound the difference at any time.

    `harm` and `safe` are the largest capitals so far against "within the margin" and "beyond it", as natural logs.
    """

    metric: Metric
    margin: float
    state: State
    canary: float | None
    control: float | None
    count: int
    differences: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    harm: float = 0.0
    safe: float = 0.0


@dataclass(frozen=True)
class Decision:
    """What to do now, and why, in a sentence."""

    outcome: Outcome
    reason: str


def observed(
    criterion: Criterion, entries: Sequence[Entry], thumbs: Iterable[tuple[str, bool]], per_unit: int
) -> list[Observation]:
    """Return what counts for a criterion; `thumbs` are message ids with whether the thumb pointed down, as they came.

    An answer that broke off counts among the errors alone. The first thumb on an answer counts.
    """
    if criterion.metric == "thumbs_down":
        found = list(_thumbs(entries, thumbs))
    else:
        found = [Observation(e.unit, e.arm, value) for e in entries if (value := _value(criterion, e)) is not None]
    return capped(found, per_unit)


def _value(criterion: Criterion, entry: Entry) -> float | None:
    if criterion.metric == "errors":
        return float(entry.failed)
    if entry.failed or (criterion.metric == "first_token" and entry.first_seconds is None):
        return None
    if criterion.metric == "guarded":
        return float(entry.guarded)
    return min(1.0, float(entry.first_seconds or 0.0) / criterion.scale)


def _thumbs(entries: Sequence[Entry], thumbs: Iterable[tuple[str, bool]]) -> Iterable[Observation]:
    left = {entry.message_id: entry for entry in entries}
    for message, is_down in thumbs:
        if entry := left.pop(message, None):
            yield Observation(entry.unit, entry.arm, float(is_down))


def capped(observations: Iterable[Observation], per_unit: int) -> list[Observation]:
    """Return the first `per_unit` observations of each unit: one user's habits must not speak for an arm."""
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for one in observations:
        seen[one.unit, one.arm] += 1
        if seen[one.unit, one.arm] <= per_unit:
            kept.append(one)
    return kept


def block_differences(observations: Iterable[Observation]) -> list[float]:
    """Return the difference of each block in time, in [-1, 1], oldest first; more observations only add to its end."""
    found: list[float] = []
    held: dict[str, list[float]] = {CANARY: [], CONTROL: []}
    for one in observations:
        held[one.arm].append(one.value)
        if all(held.values()):
            found.append(_mean(held[CANARY]) - _mean(held[CONTROL]))
            held = {CANARY: [], CONTROL: []}
    return found


def pair_differences(observations: Iterable[Observation]) -> list[float]:
    """Return the difference on each unit that both arms answered, in the order in which the second of them came."""
    found: list[float] = []
    first: dict[str, Observation] = {}
    for one in observations:
        other = first.setdefault(one.unit, one)
        if other.arm != one.arm:
            canary, control = (one, other) if one.arm == CANARY else (other, one)
            found.append(canary.value - control.value)
    return found


def assess(
    criterion: Criterion,
    observations: Sequence[Observation],
    differences: Sequence[float],
    alpha: float,
    criteria: int,
) -> Verdict:
    """Return what the differences say of a criterion, one of `criteria` that may call harm.

    Once it is known it stays known: what counts is the largest capital so far, which Ville's inequality bounds as well.
    """
    canary, control = (_mean_of(observations, arm) for arm in (CANARY, CONTROL))
    count = sum(one.arm == CANARY for one in observations)
    if not differences:
        return Verdict(criterion.metric, criterion.margin, "abstains", canary, control, count, 0)
    values, null = unit_values(differences), (1 + criterion.margin) / 2
    harm = math.log(float(capital(values, null).max()))
    safe = math.log(float(capital(1 - values, 1 - null).max()))
    bounds = confidence_interval(values, alpha)
    return Verdict(
        criterion.metric,
        criterion.margin,
        state_of(harm, safe, alpha, criteria),
        canary,
        control,
        count,
        len(values),
        2 * bounds.mean - 1,
        2 * bounds.low - 1,
        2 * bounds.high - 1,
        harm,
        safe,
    )


def state_of(harm: float, safe: float, alpha: float, criteria: int) -> State:
    """Return what two log capitals show; harm is seen first."""
    levels = needed(alpha, criteria)
    if harm >= levels["harm"]:
        return "harm"
    return "safe" if safe >= levels["safe"] else "open"


def needed(alpha: float, criteria: int) -> dict[str, float]:
    """Return the log capital that shows harm in one of `criteria`, and the one that shows a criterion safe."""
    return {"harm": math.log(PHASES * criteria / alpha), "safe": math.log(1 / alpha)}


def decide(verdicts: Sequence[Verdict], may_promote: bool) -> Decision:
    """Return what verdicts call for; nothing is promoted before `may_promote`, and harm rolls back at any time.

    What may never be seen may abstain: thumbs where nobody presses one, first tokens where nobody reads a stream.
    """
    if harmed := [one for one in verdicts if one.state == "harm"]:
        worst = max(harmed, key=lambda one: one.harm)
        return Decision("roll_back", f"{NAMES[worst.metric]}: worse by more than {worst.margin:g}; {told(worst)}")
    waiting = [one for one in verdicts if one.state == "open"]
    waiting += [one for one in verdicts if one.state == "abstains" and one.metric not in MAY_ABSTAIN]
    if not waiting and may_promote and any(one.state == "safe" for one in verdicts):
        silent = [NAMES[one.metric] for one in verdicts if one.state == "abstains"]
        but = f"; nothing can be said of {', '.join(silent)}" if silent else ""
        return Decision("promote", f"no criterion is worse by more than its margin{but}")
    names = ", ".join(NAMES[one.metric] for one in waiting)
    return Decision("wait", f"not settled: {names}" if names else "the last share is not reached")


NAMES: dict[Metric, str] = {
    "errors": "answers that break off",
    "first_token": "time to the first token",
    "thumbs_down": "thumbs down",
    "guarded": "answers that the guardrails ended",
}


def told(verdict: Verdict) -> str:
    """Return a verdict's means and difference in words."""
    if verdict.difference is None or verdict.canary is None or verdict.control is None:
        return "no comparison"
    bounds = f"{verdict.difference:+.3f} ({verdict.low:+.3f} to {verdict.high:+.3f})"
    return f"{verdict.canary:.3f} against {verdict.control:.3f}, difference {bounds}"


def unit_values(differences: Sequence[float] | Floats) -> Floats:
    """Return differences in [-1, 1] as numbers in [0, 1], one half for none."""
    return np.clip((np.asarray(differences, dtype=np.float64) + 1) / 2, 0.0, 1.0)


def comparison(phase: Literal["live", "replay"]) -> Callable[[Iterable[Observation]], list[float]]:
    """Return how the arms of a phase are compared: users by blocks in time, prompts that both answered by pairs."""
    return pair_differences if phase == "replay" else block_differences


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_of(observations: Sequence[Observation], arm: str) -> float | None:
    values = [one.value for one in observations if one.arm == arm]
    return _mean(values) if values else None
