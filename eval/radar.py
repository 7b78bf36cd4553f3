"""A radar of grades by category: where both sides' polygons and the labels stand in a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thumbwheel.records import SIDES

WIDTH, HEIGHT, RADIUS = 420.0, 310.0, 122.0
LOWEST, HIGHEST = 1.0, 10.0
FEWEST = 3
"""Axes below which there is no area to see."""
RINGS = (2.5, 5.0, 7.5, 10.0)


@dataclass(frozen=True)
class Axis:
    """One category: its label, where that and the axis' end stand, and how the label hangs on its place."""

    label: str
    x: float
    y: float
    end_x: float
    end_y: float
    anchor: str


@dataclass(frozen=True)
class Mark:
    """A ring's grade beside the first axis."""

    label: str
    x: float
    y: float


@dataclass(frozen=True)
class Radar:
    """The picture, WIDTH by HEIGHT; polygons as SVG takes their points."""

    axes: tuple[Axis, ...]
    rings: tuple[str, ...]
    scale: tuple[Mark, ...]
    polygons: Mapping[str, str]


def radar(categories: Sequence[Mapping[str, Any]]) -> Radar | None:
    """Return the radar of the categories that both sides have grades in; None for fewer than three."""
    shown = [line for line in categories if all(line[side] is not None for side in SIDES)]
    if len(shown) < FEWEST:
        return None
    angles = [2 * math.pi * index / len(shown) for index in range(len(shown))]
    axes = tuple(_axis(str(line["category"]), angle) for line, angle in zip(shown, angles, strict=True))
    rings = tuple(_polygon([ring] * len(angles), angles) for ring in RINGS)
    scale = tuple(Mark(f"{ring:g}", WIDTH / 2 + 4, _place(_share(ring), 0.0)[1] + 3) for ring in RINGS)
    return Radar(axes, rings, scale, {side: _polygon([line[side] for line in shown], angles) for side in SIDES})


def _axis(label: str, angle: float) -> Axis:
    (x, y), (end_x, end_y) = _place(1.12, angle), _place(1.0, angle)
    side = math.sin(angle)
    return Axis(label, x, y, end_x, end_y, "middle" if abs(side) < 0.2 else "start" if side > 0 else "end")


def _polygon(grades: Sequence[float], angles: Sequence[float]) -> str:
    places = [_place(_share(grade), angle) for grade, angle in zip(grades, angles, strict=True)]
    return " ".join(f"{x},{y}" for x, y in places)


def _share(grade: float) -> float:
    return (grade - LOWEST) / (HIGHEST - LOWEST)


def _place(share: float, angle: float) -> tuple[float, float]:
    """Return a point at a share of the radius; the first axis points up, the rest follow the clock."""
    return (
        round(WIDTH / 2 + RADIUS * share * math.sin(angle), 1),
        round(HEIGHT / 2 - RADIUS * share * math.cos(angle), 1),
    )
