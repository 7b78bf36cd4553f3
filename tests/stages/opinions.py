"""What users said of replies, as events, and the pairs that come of it, for tests of `pairs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.best_of_n import Resampled
from stages.pairs import Pairs, PairsParams, make_pairs
from tests.events import feedback_event

BEST_OF_N = {
    "samples": 2,
    "margin": 0.1,
    "max_events": 4,
    "temperature": 1.0,
    "max_tokens": 8,
    "max_length": 512,
    "min_mass": 0.5,
    "seed": 1,
}


WEIGHTS = {"edit": 1.0, "regeneration": 0.8, "review": 0.9, "best_of_n": 0.5}


def params(**changes: Any) -> PairsParams:
    alike = {"jaccard": 0.6, "most": 100}
    base = {"minimum_age_hours": 0, "cap_per_user": 100, "alike": alike, "weights": WEIGHTS, "best_of_n": BEST_OF_N}
    return PairsParams.model_validate({**base, **changes})


def none_found(events: Sequence[Any]) -> list[Resampled]:
    return [Resampled(reason="no_better_sample") for _ in events]


def pairs_of(*events: dict[str, Any], resample: Any = none_found, **changes: Any) -> Pairs:
    return make_pairs(events, params(**changes), resample)


def at(minute: int) -> str:
    return f"2026-11-01T10:{minute:02}:00+00:00"


def edit(text: str = "Nine months.", **changes: Any) -> dict[str, Any]:
    return feedback_event(**{"kind": "edit", "rating": None, "correction": text, "created_at": at(1), **changes})


def marked(label: str, **changes: Any) -> dict[str, Any]:
    spans = [{"start": 0, "end": 3, "label": label}]
    return feedback_event(**{"rating": None, "spans": spans, "created_at": at(2), **changes})


def regenerated(text: str = "About nine months.", **changes: Any) -> dict[str, Any]:
    given = {"kind": "regeneration", "rating": "up", "message_id": "m-2", "replaces": "m-1", "created_at": at(2)}
    return feedback_event(**{**given, "reply": text, **changes})


def review(text: str = "Nine months, says the manual.", **changes: Any) -> dict[str, Any]:
    given = {"kind": "review", "rating": None, "user": "u-reviewer", "correction": text, "created_at": at(3)}
    return feedback_event(**{**given, **changes})


def sampled(text: str = "Nine.") -> Any:
    return lambda events: [Resampled(text=text) for _ in events]
