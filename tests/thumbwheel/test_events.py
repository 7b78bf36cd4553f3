"""An event that does not fit is refused by the name of its field; one that fits has exactly those of the schema."""

from __future__ import annotations

import pytest

from tests.events import feedback_event
from thumbwheel.errors import FeedbackError
from thumbwheel.events import validated
from thumbwheel.records import FEEDBACK


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", ""),
        ("event_id", 7),
        ("user", None),
        ("kind", "thumb"),
        ("rating", "sideways"),
        ("consent", None),
        ("consent", 1),
        ("prompt", []),
        ("prompt", [{"role": "robot", "content": "x"}]),
        ("prompt", [{"role": "user"}]),
        ("prompt", [{"role": "user", "content": "x", "name": "y"}]),
        ("reply", None),
        ("reply", "\ud800"),
        ("created_at", "yesterday"),
        ("created_at", "2026-11-01T10:00:00"),
        ("mood", "sad"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    with pytest.raises(FeedbackError, match=f"'{field}'"):
        validated(feedback_event(**{field: value}))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "rating", "rating": None}, "rating"),
        ({"kind": "edit", "correction": ""}, "correction"),
        ({"kind": "regeneration", "rating": "up"}, "replaces"),
    ],
)
def test_a_kind_of_event_needs_the_field_that_makes_it(changes: dict[str, object], field: str) -> None:
    with pytest.raises(FeedbackError, match=f"'{field}' is missing"):
        validated(feedback_event(**changes))


def test_a_reason_given_after_the_thumb_is_an_event_of_its_own() -> None:
    assert validated(feedback_event(rating=None, reason="unsafe"))["reason"] == "unsafe"


def test_a_validated_event_has_exactly_the_fields_of_the_schema_in_order() -> None:
    event = feedback_event(arm="")
    del event["replaces"]

    row = validated(event)

    assert list(row) == FEEDBACK.names
    assert row["arm"] is None
    assert row["replaces"] is None
