"""Parity: what two readings of the same tokens say of the bundle, on readings whose truth is known."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.parity import (
    Parity,
    ParityLimits,
    Reading,
    Scale,
    Step,
    agreement,
    as_json,
    divergence,
    faults,
    scales,
    top1,
)

LIMITS = ParityLimits(min_top1=0.75, max_divergence=0.05, scale=(0.7, 1.35))


def step(present: tuple[float, float], noise: float, rng: np.random.Generator, tokens: int = 40) -> Step:
    """Return what is left where the adapters are present at known scales, under noise of so many nats."""
    slopes = rng.normal(0, (0.5, 0.2), (tokens, 2))
    return Step(slopes @ (np.array(present) - 1) + rng.normal(0, noise, tokens), slopes)


def steps(present: tuple[float, float], noise: float = 0.1) -> list[Step]:
    rng = np.random.default_rng(1)
    return [step(present, noise, rng) for _ in range(24)]


def told_by(steps: list[Step]) -> dict[str, Scale | None]:
    return scales(steps, {"sft": 1.0, "dpo": 1.0}, LIMITS, np.random.default_rng(2), 300)


def found(**changes: object) -> Parity:
    facts: dict[str, object] = {"conversations": 24, "tokens": 960, "top1": 0.9, "divergence": 0.01}
    facts |= {"scales": {"sft": Scale(1.0, 0.9, 1.1, True), "dpo": None}, "answers_equal": 0.5, "answers_prefix": 0.8}
    return Parity(**(facts | {"prompts_changed": [], "files_changed": []} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("present", [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (2.0, 1.0), (0.5, 1.5)])
def test_the_scale_at_which_each_adapter_is_present_is_found(present: tuple[float, float]) -> None:
    told = told_by(steps(present))
    for name, true in zip(told, present, strict=True):
        scale = told[name]
        assert scale is not None
        assert scale.told
        assert scale.low <= scale.value <= scale.high
        assert scale.value == pytest.approx(true, abs=0.1)


def test_the_interval_of_a_scale_holds_the_truth_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(100):
        told = told_by([step((1.0, 0.9), 0.5, rng) for _ in range(24)])["dpo"]
        assert told is not None
        held += told.low <= 0.9 <= told.high
    assert held >= 85


def test_a_scale_that_noise_hides_is_not_told_and_is_no_fault() -> None:
    told = told_by(steps((1.0, 0.0), noise=30.0))
    assert told["dpo"] is not None
    assert not told["dpo"].told
    assert faults(found(scales=told), LIMITS) == []


def test_an_adapter_that_changes_nothing_has_no_scale() -> None:
    told = told_by([Step(one.gap, one.slopes * [1, 0]) for one in steps((1.0, 1.0))])
    assert told["dpo"] is None
    assert told["sft"] is not None
    assert told["sft"].value == pytest.approx(1.0, abs=0.05)
    assert told_by([]) == {"sft": None, "dpo": None}


def test_a_scale_is_found_from_wherever_the_search_stands() -> None:
    told = scales(steps((1.2, 1.0)), {"sft": 0.5, "dpo": 1.0}, LIMITS, np.random.default_rng(2), 300)
    assert told["sft"] is not None
    assert told["sft"].value == pytest.approx(0.7, abs=0.05)


def test_divergence_is_that_of_the_whole_where_the_tokens_are_all_there() -> None:
    p, q = np.array([[0.7, 0.2]]), np.array([[0.5, 0.3]])
    one = Reading(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.log(p), np.log(q))
    whole = 0.7 * np.log(0.7 / 0.5) + 0.2 * np.log(0.2 / 0.3) + 0.1 * np.log(0.1 / 0.2)
    assert divergence([one]) == pytest.approx(whole)


def test_top1_counts_tokens_not_conversations() -> None:
    def one(same: int, other: int) -> Reading:
        ours, theirs = np.zeros(same + other, dtype=int), np.array([0] * same + [1] * other)
        shares = np.log(np.full((same + other, 1), 0.5))
        return Reading(ours, theirs, shares, shares)

    assert top1([one(1, 0), one(0, 3)]) == 0.25


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_equal_answers_are_those_whose_beginnings_are_equal_to_the_end(one: list[int], other: list[int]) -> None:
    shares = agreement([one], [other])
    assert shares is not None
    equal, prefix = shares
    assert (equal == 1.0) == (one == other) == (prefix == 1.0)
    assert agreement([one], [other]) == agreement([other], [one])


def test_no_answers_are_no_agreement() -> None:
    assert agreement([], []) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files_changed": ["chat_template.jinja"]}, "chat_template.jinja is not the base model's"),
        ({"prompts_changed": ["a", "b"]}, "turns 2 of 24 prompts into other tokens"),
        ({"scales": {"dpo": Scale(0.02, -0.1, 0.1, True)}}, "adapter dpo is present at 0.02 .* not merged"),
        ({"scales": {"sft": Scale(2.1, 1.9, 2.3, True)}}, "adapter sft is present at 2.10 .* more than once"),
        ({"top1": 0.5}, "top-1 agreement is 50.0%"),
        ({"divergence": 0.2}, "divergence is 0.200 nats"),
    ],
)
def test_each_fault_is_named(changes: dict[str, object], words: str) -> None:
    wrong = as_json(found(**changes), LIMITS)["faults"]
    assert len(wrong) == 1
    assert re.search(words, wrong[0]), wrong


def test_the_trained_model_has_no_fault() -> None:
    assert as_json(found(), LIMITS)["faults"] == []
