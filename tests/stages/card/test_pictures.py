"""The pictures of the data card lie within their frames, and their bars and dots are as many as the rows say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.card import pictures
from stages.card.card import Histogram, Step


def test_bars_are_as_tall_as_their_rows_and_lie_inside_the_picture() -> None:
    steps = [Step("ingest", 0, 100, 50, {"json": 50}), Step("split", 50, 10, 60)]
    flow = pictures.flow(steps, {"train": 40, "validation": 10, "test": 10})
    tall = {bar.name: bar.height for bar in flow.bars}
    assert tall["ingest"] == pictures.TALL
    assert tall["split"] == pytest.approx(tall["train"] + tall["validation"] + tall["test"])
    assert all(0 <= bar.x <= pictures.WIDTH - pictures.BAR and bar.y + bar.height <= flow.bottom for bar in flow.bars)
    assert {ribbon.kind for ribbon in flow.ribbons} == {"kept", "lost", "joined", "train", "validation", "test"}


def test_an_empty_run_has_a_picture_too() -> None:
    flow = pictures.flow([Step("ingest", 0, 0, 0)], {"train": 0, "validation": 0, "test": 0})
    assert all(bar.height == 0 for bar in flow.bars)
    assert pictures.topic_map([], {}, 10) == []
    assert pictures.columns(Histogram("x", (0,), (0,), 0))[0].height == 0


def test_many_reasons_end_in_one_line_for_the_rest() -> None:
    lost = {f"r{i}": 10 - i for i in range(9)}
    (note,) = pictures.flow([Step("ingest", 0, 100, 55, lost)], {"train": 55}).notes
    assert len(note.lines) == pictures.REASONS
    assert note.lines[-1] == f"{sum(list(lost.values())[5:])} for 4 more reasons"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 3)), max_size=30), st.integers(1, 40))
def test_no_name_on_the_map_covers_another_and_every_drawn_dot_is_on_it(
    dots: list[tuple[float, float, int]], points: int
) -> None:
    places = [{"id": str(i), "split": "train", "cluster": c, "x": x, "y": y} for i, (x, y, c) in enumerate(dots)]
    clouds = pictures.topic_map(places, {c: f"topic {c}" for c in range(4)}, points)
    assert sum(cloud.learnt.count("M") for cloud in clouds) == min(points, len(dots))
    for i, one in enumerate(clouds):
        for other in clouds[:i]:
            assert abs(one.x - other.x) >= pictures.NAME_WIDE or abs(one.y - other.y) >= pictures.NAME_TALL
