"""The pictures of the data card: where rows went, the map of topics and histograms, as geometry that a template draws.

All lengths are in pixels of a viewport `WIDTH` wide. Colours and type are the template's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.card.card import SIDES, Histogram, Step

WIDTH = 1120
COLOURS = 12
"""How many the template has for topics."""

BAR, TALL, TOP, GAP = 14, 190, 46, 10
LABELS, LINE, NAMES = 34, 17, 135
REASONS = 6
"""Reasons that a step names; the rest are one line."""
PLOT = 460
MARGIN = 24
BIN, BINS_TALL = 44, 120
NAME_WIDE, NAME_TALL = 170, 17
"""Names on the map that are nearer than this would cover each other."""
NAMED = 16
"""Topics whose names stand on the map, the largest first."""


@dataclass(frozen=True)
class Bar:
    """A stage, or a side at the end: a rectangle with its name and its rows."""

    name: str
    rows: int
    x: float
    y: float
    height: float


@dataclass(frozen=True)
class Ribbon:
    """Rows on their way, as an SVG path; `kind` is `kept`, `lost`, `joined` or a side."""

    kind: str
    path: str
    title: str


@dataclass(frozen=True)
class Note:
    """What went at a stage: one line a reason, at a place below the bars."""

    x: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Flow:
    """The picture of the funnel."""

    bars: tuple[Bar, ...]
    ribbons: tuple[Ribbon, ...]
    notes: tuple[Note, ...]
    bottom: float
    height: float


def flow(steps: Sequence[Step], sides: Mapping[str, int]) -> Flow:
    """Return where the rows went: a bar a stage, what is kept flowing on, what is lost flowing down to its reasons."""
    scale = TALL / max(step.total for step in steps) if any(step.total for step in steps) else 0.0
    pitch = (WIDTH - 2 * MARGIN - NAMES) / len(steps)
    bars, ribbons, notes = [], [], []
    bottom = TOP + TALL + 40.0
    for i, step in enumerate(steps):
        x, tall, kept = MARGIN + i * pitch, step.total * scale, step.kept * scale
        bars.append(Bar(step.stage, step.total, x, TOP, tall))
        if i + 1 < len(steps):
            title = f"{step.kept} rows go on from {step.stage}"
            ribbons.append(Ribbon("kept", _across(x + BAR, TOP, x + pitch, TOP, kept), title))
        if step.joined and i:
            ribbons.append(_joining(x, TOP + step.arrived * scale, step.joined * scale, step))
        if step.lost:
            lost = sum(step.lost.values())
            ribbons.append(
                Ribbon("lost", _down(x + BAR, TOP + kept, tall - kept, bottom), f"{lost} rows go at {step.stage}")
            )
            notes.append(Note(x, _reasons(step.lost)))
    x, y = MARGIN + (len(steps) - 1) * pitch, float(TOP)
    for side, rows in sides.items():
        target = TOP + (y - TOP) + GAP * SIDES.index(side)
        ribbons.append(Ribbon(side, _across(x + BAR, y, x + pitch, target, rows * scale), f"{rows} rows in {side}"))
        bars.append(Bar(side, rows, x + pitch, target, rows * scale))
        y += rows * scale
    lines = max((len(note.lines) for note in notes), default=0)
    return Flow(tuple(bars), tuple(ribbons), tuple(notes), bottom, bottom + LABELS + lines * LINE)


@dataclass(frozen=True)
class Cloud:
    """The conversations of one topic on the map: an SVG path of dots for those learnt from, one for those held out."""

    terms: str
    colour: int
    learnt: str
    held_out: str
    x: float
    y: float
    """Where its name stands: at the median of its dots."""


def topic_map(places: Sequence[Mapping[str, Any]], terms: Mapping[int, str], points: int) -> list[Cloud]:
    """Return the map of topics, at most `points` conversations on it, those whose ids have the smallest hashes."""
    drawn = sorted(places, key=lambda place: hashlib.sha256(place["id"].encode()).digest())[:points]
    x = _scaled([place["x"] for place in drawn], WIDTH - 2 * MARGIN)
    y = _scaled([-place["y"] for place in drawn], PLOT - 2 * MARGIN)
    clouds = []
    for colour, (cluster, words) in enumerate(terms.items()):
        mine = [i for i, place in enumerate(drawn) if place["cluster"] == cluster]
        if mine:
            learnt = _dots([(x[i], y[i]) for i in mine if drawn[i]["split"] == "train"])
            held_out = _dots([(x[i], y[i]) for i in mine if drawn[i]["split"] != "train"])
            centre = (sorted(axis[i] for i in mine)[len(mine) // 2] for axis in (x, y))
            clouds.append(Cloud(words, colour % COLOURS, learnt, held_out, *centre))
    return _spread(clouds)


def _spread(clouds: Sequence[Cloud]) -> list[Cloud]:
    """Return the clouds, the largest first, with names moved down until none covers another."""
    placed: list[Cloud] = []
    for cloud in clouds[:NAMED]:
        x = min(max(cloud.x, NAME_WIDE / 2), WIDTH - NAME_WIDE / 2)
        y = cloud.y
        while any(abs(x - other.x) < NAME_WIDE and abs(y - other.y) < NAME_TALL for other in placed):
            y += 1.0
        placed.append(replace(cloud, x=x, y=y))
    return [*placed, *clouds[NAMED:]]


@dataclass(frozen=True)
class Column:
    """A bin of a histogram, with the least value in it."""

    label: str
    rows: int
    x: float
    y: float
    height: float


def columns(found: Histogram) -> list[Column]:
    """Return the columns of a histogram, each bin as wide as the next."""
    most = max(found.counts) or 1
    tall = [BINS_TALL * count / most for count in found.counts]
    return [
        Column(f"{edge:,}", count, i * BIN, BINS_TALL - height, height)
        for i, (edge, count, height) in enumerate(zip(found.edges, found.counts, tall, strict=True))
    ]


def plain(reason: str) -> str:
    """Return a reason as it is shown: `leaked:mt_bench` as `leaked: mt bench`."""
    return reason.replace("_", " ").replace(":", ": ")


def _reasons(lost: Mapping[str, int]) -> tuple[str, ...]:
    named = [f"{n:,} {plain(reason)}" for reason, n in lost.items()]
    if len(named) <= REASONS:
        return tuple(named)
    rest = sum(list(lost.values())[REASONS - 1 :])
    return (*named[: REASONS - 1], f"{rest:,} for {len(named) - REASONS + 1} more reasons")


def _across(x1: float, y1: float, x2: float, y2: float, tall: float) -> str:
    """Return a ribbon from one bar to the next."""
    middle = (x1 + x2) / 2
    return (
        f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}V{y2 + tall:.1f}"
        f"C{middle:.1f} {y2 + tall:.1f} {middle:.1f} {y1 + tall:.1f} {x1:.1f} {y1 + tall:.1f}Z"
    )


def _down(x: float, y: float, tall: float, bottom: float) -> str:
    """Return a ribbon that turns down from the foot of a bar."""
    wide = max(tall, 1.0)
    reach = 12.0
    return (
        f"M{x:.1f} {y:.1f}C{x + reach + wide:.1f} {y:.1f} {x + reach + wide:.1f} {y:.1f} {x + reach + wide:.1f} "
        f"{y + reach + wide:.1f}V{bottom:.1f}H{x + reach:.1f}V{y + wide + reach:.1f}"
        f"C{x + reach:.1f} {y + wide:.1f} {x + reach:.1f} {y + wide:.1f} {x:.1f} {y + wide:.1f}Z"
    )


def _joining(x: float, y: float, tall: float, step: Step) -> Ribbon:
    """Return a ribbon that comes in from the left below the others."""
    path = _across(x - 70, y + 30, x, y, max(tall, 1.0))
    return Ribbon("joined", path, f"{step.joined} rows join at {step.stage}")


def _scaled(values: Sequence[float], width: float) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [MARGIN + (value - low) / ((high - low) or 1.0) * width for value in values]


def _dots(places: Sequence[tuple[float, float]]) -> str:
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
