"""Collapse: each way in which a model falls apart is seen and named, and a model that is well is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eval.collapse import CollapseLimits, Vitals, collapse, vitals

LIMITS = CollapseLimits(
    max_kl=2.0, max_lost=0.5, length=(0.3, 3.0), min_distinct=0.5, max_repetition=0.4, max_refusals=0.6
)
WELL = Vitals(kl=0.0, chosen=-2.0, length=20.0, distinct=0.9, repetition=0.05, refusals=0.1)


def test_a_model_that_moved_a_little_is_well() -> None:
    assert collapse(replace(WELL, kl=0.3, chosen=-1.8, length=25.0, distinct=0.8), WELL, LIMITS) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kl": 2.1}, "2.10 nats a token from its reference"),
        ({"chosen": -2.6}, "chosen replies lost 0.60 nats"),
        ({"length": 2.0}, "0.10 times as long"),
        ({"length": 90.0}, "4.50 times as long"),
        ({"distinct": 0.4}, "distinct pairs of tokens fell from 90% to 40%"),
        ({"repetition": 0.5}, "repeated runs rose from 5% to 50%"),
        ({"refusals": 0.8}, "refusals rose from 10% to 80%"),
        ({"kl": float("nan")}, "kl is not a number"),
    ],
)
def test_each_way_to_collapse_is_named(changes: dict[str, Any], words: str) -> None:
    reason = collapse(replace(WELL, **changes), WELL, LIMITS)
    assert reason is not None
    assert words in reason


def test_what_a_model_says_is_measured() -> None:
    found = vitals(0.5, -1.0, [[1, 2, 3, 1, 2], [7]], ["I can't help with that.", "Sure."])
    assert found == Vitals(kl=0.5, chosen=-1.0, length=3.0, distinct=0.75, repetition=0.0, refusals=0.5)


def test_a_model_that_says_nothing_is_measured_and_has_collapsed() -> None:
    silent = vitals(0.0, -2.0, [[], []], ["", ""])
    assert silent.length == 0
    assert "0.00 times as long" in str(collapse(silent, WELL, LIMITS))
