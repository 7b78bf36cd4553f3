"""What a reply shows of its model's health."""

from __future__ import annotations

import pytest

from serving.vitals import Pace, groundedness, repetition


@pytest.mark.parametrize(
    ("text", "share"), [("", 0.0), ("one two three", 0.0), ("a b c d e f g h", 0.0), ("a b c d a b c d", 1.0)]
)
def test_a_text_that_goes_in_circles_is_told_from_one_that_does_not(text: str, share: float) -> None:
    assert repetition(text) == share


def test_groundedness_is_the_share_of_words_that_some_document_holds() -> None:
    sources = [{"words": ["fault", "light"]}, {"words": ["hub's", "2024"]}]
    assert groundedness("The light means a fault since 2024, madam.", sources) == pytest.approx(3 / 6)
    assert groundedness("No.", sources) is None
    assert groundedness("Something else entirely", sources) == 0.0


def test_pace_is_of_streams_whose_words_came_one_after_another() -> None:
    pace = Pace()
    assert pace.between(10) is None
    pace.words_came()
    assert pace.between(10) is None
    assert Pace(first=1.0, last=4.0).between(7) == pytest.approx(0.5)
    assert Pace(first=1.0, last=4.0).between(1) is None
