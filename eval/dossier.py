"""The dossier: the gate's decision and its evidence on one self-contained page, for the person who approves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval import radar

TEMPLATE = Path(__file__).with_name("dossier.html.j2")
WIDTH, PADDING = 220.0, 10.0
SIDE, EDGE = 220.0, 44.0
"""Of the picture of a trade-off: its square, and the room for words at its left and foot."""
CUT = "[…]"
"""Stands where a reply had reached its limit of tokens."""
OPEN_ANSWERS = 8
"""How many of the answers side by side are shown at once; the rest unfold."""
OUTCOMES = {
    "pass": "Better where it must be, and nowhere worse by more than is tolerated.",
    "fail": "Harm was shown. This candidate must not replace the champion.",
    "inconclusive": "The evidence settles neither that it is better nor that it does harm.",
}
KINDS = {
    "superiority": "better than the champion",
    "non_inferiority": "not worse by more than",
    "floor": "keeps within",
}


@dataclass(frozen=True)
class Comparison:
    """One question with both replies; `gain` is how much better the candidate did, from -1 to 1, and `why` by what."""

    set: str
    question: str
    category: str
    turns: tuple[str, ...]
    candidate: tuple[str, ...]
    champion: tuple[str, ...]
    gain: float | None
    why: str


@dataclass(frozen=True)
class Dial:
    """Where an interval, its mean, zero and the limit lie on a picture WIDTH wide, better to the right."""

    low: float
    high: float
    mean: float
    zero: float | None
    limit: float


@dataclass(frozen=True)
class Point:
    """One setting of the weights in a picture of the trade-off, with the weights in words."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Curve:
    """Held-out accuracy of two objectives, one across and one upwards, as their weights change."""

    across: str
    up: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Contents:
    """All that the page shows beside the decision: tables, pictures, answers, and where data and models come from."""

    benchmark: Sequence[Mapping[str, Any]] = ()
    categories: Sequence[Mapping[str, Any]] = ()
    overall: Mapping[str, Any] | None = None
    """All categories together, as one line of their table."""
    preferred: Mapping[str, int] | None = None
    """How many questions each side won in pairwise judging, and how many were ties."""
    comparisons: Sequence[Comparison] = ()
    data: Sequence[Mapping[str, Any]] = ()
    models: Sequence[Mapping[str, Any]] = ()
    trade_off: Sequence[Mapping[str, Any]] = ()
    """What other weights of DPO's objectives would have given, as `dpo.json` has it."""


def render(gate: Mapping[str, Any], contents: Contents) -> str:
    """Return the page; every text that is not ours is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "grade": grade, "share": share}
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(
        gate=gate,
        says=OUTCOMES[gate["outcome"]],
        open=still_open(gate["criteria"]),
        kinds=KINDS,
        dials={line["name"]: dial(line) for line in gate["criteria"]},
        width=WIDTH,
        side=SIDE,
        edge=EDGE,
        contents=contents,
        rows=[*contents.categories, *([contents.overall] if contents.overall else [])],
        open_answers=OPEN_ANSWERS,
        cut=CUT,
        radar=radar.radar(contents.categories),
        picture=radar,
        curve=curve(contents.trade_off),
    )


def still_open(criteria: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the required criteria that are not shown yet, those that most questions would settle first."""
    lines = [line for line in criteria if line["required"] and line["outcome"] in ("inconclusive", "abstain")]
    return sorted(lines, key=lambda line: -(line["more_questions"] or 0))


def number(value: float | None) -> str:
    """Return a number with three significant digits, and a dash for none."""
    if value is None:
        return "–"
    if 0 < abs(value) < 5e-4:
        return "<0.001" if value > 0 else ">−0.001"
    text = f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")


def grade(value: float | None) -> str:
    """Return a grade with two decimals, as MT-Bench gives them, and a dash for none."""
    return "–" if value is None else f"{value:.2f}"


def share(value: float | None) -> str:
    """Return a share in percent, and a dash for none."""
    return "–" if value is None else f"{value:.0%}"


def dial(line: Mapping[str, Any]) -> Dial | None:
    """Return where a criterion's interval is drawn, or None where it has none."""
    if line["low"] is None or line["high"] is None or line["delta"] is None:
        return None
    sign = 1.0 if line["better"] == "higher" else -1.0
    floor = line["kind"] == "floor"
    zero = None if floor else 0.0
    limit = sign * line["margin"] if floor else -line["margin"]
    low, high = sorted(sign * line[end] for end in ("low", "high"))
    marks = [low, high, limit, *([] if zero is None else [zero])]
    left, span = min(marks), (max(marks) - min(marks)) or 1.0

    def place(value: float) -> float:
        return round(PADDING + (value - left) / span * (WIDTH - 2 * PADDING), 1)

    return Dial(
        place(low), place(high), place(sign * line["delta"]), None if zero is None else place(zero), place(limit)
    )


def curve(found: Sequence[Mapping[str, Any]]) -> Curve | None:
    """Return where the trade-off between the first two objectives is drawn, or None where there is none to see."""
    ended = [one for one in found if "stopped" not in one]
    names = sorted({name for one in ended for name in one["objectives"]})[:2]
    if len(names) < 2 or len(ended) < 2 or any(f"{name}_accuracy" not in one for one in ended for name in names):
        return None
    points = []
    for one in ended:
        across, up = (one[f"{name}_accuracy"] for name in names)
        label = " : ".join(f"{one['objectives'].get(name, 0.0):g}" for name in names)
        points.append(Point(EDGE + across * SIDE, EDGE / 2 + (1 - up) * SIDE, label))
    return Curve(names[0], names[1], tuple(sorted(points, key=lambda point: point.x)))


def worst_first(comparisons: Sequence[Comparison], count: int) -> list[Comparison]:
    """Return the `count` comparisons that the candidate lost by most; unmeasured ones come last."""
    key = lambda one: (one.gain is None, one.gain or 0.0, one.set, one.question)  # noqa: E731
    return sorted(comparisons, key=key)[:count]
