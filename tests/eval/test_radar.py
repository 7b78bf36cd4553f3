"""The radar: every point lies in the picture, better is further out, and too few axes make none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.radar import HEIGHT, RADIUS, WIDTH, radar

GRADES = st.lists(st.tuples(st.floats(1, 10), st.floats(1, 10)), min_size=3, max_size=10)


def lines(*grades: tuple[float | None, float | None]) -> list[dict[str, Any]]:
    return [{"category": f"c{i}", "candidate": a, "champion": b} for i, (a, b) in enumerate(grades)]


def points(polygon: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, point.split(","))) for point in polygon.split()]


@given(GRADES)
def test_every_point_lies_within_the_outer_ring(grades: list[tuple[float, float]]) -> None:
    drawn = radar(lines(*grades))
    assert drawn is not None
    for polygon in drawn.polygons.values():
        assert len(points(polygon)) == len(grades)
        assert all((x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2 <= (RADIUS + 0.2) ** 2 for x, y in points(polygon))


def test_a_better_grade_lies_further_out() -> None:
    drawn = radar(lines((9, 3), (5, 5), (5, 5)))
    assert drawn is not None
    assert points(drawn.polygons["candidate"])[0][1] < points(drawn.polygons["champion"])[0][1] < HEIGHT / 2


@pytest.mark.parametrize("grades", [[], [(5, 5)] * 2, [(5, 5), (5, 5), (5, None)]])
def test_fewer_than_three_graded_categories_make_no_radar(grades: list[tuple[float, float | None]]) -> None:
    assert radar(lines(*grades)) is None


def test_labels_hang_outwards() -> None:
    drawn = radar(lines(*[(5, 5)] * 4))
    assert drawn is not None
    assert [axis.anchor for axis in drawn.axes] == ["middle", "start", "middle", "end"]
