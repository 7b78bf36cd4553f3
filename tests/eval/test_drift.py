"""The weekly watch: silent drift is found at once, and years of looking at a release that is well cry no wolf."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eval.drift import (
    MEASURES,
    Claim,
    Criterion,
    Line,
    Reply,
    claims,
    evidence,
    judge,
    overall,
    weight,
)
from eval.statistics import exact_share
from thumbwheel.settings import REPOSITORY

PARAMS = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["watch"]
CRITERIA = [Criterion.model_validate(one) for one in PARAMS["criteria"]]
ALPHA = PARAMS["alpha"]
WORDS = re.findall(r"\w+", "the hub light blinks while it is pairing so press its button for five seconds")
COUNT, DEMANDING = 136, 16
"""As many golden questions as `params.yaml` asks, and those of them that demand something."""
WEEKS = 52


def golden(rng: np.random.Generator, count: int = COUNT) -> list[Reply]:
    texts = [" ".join(rng.permutation(WORDS)[: rng.integers(8, 16)]) for _ in range(count)]
    return [
        Reply(text, "stop", ("hub.md",), float(rng.uniform(0.5, 2)), number % 2 == 0 if number < DEMANDING else None)
        for number, text in enumerate(texts)
    ]


def wobbling(answers: list[Reply], rng: np.random.Generator, share: float = 0.1) -> list[Reply]:
    """Return what a release that is well answers: a near-tie falls the other way now and then, and times differ."""
    words = [replace(a, text=f"{a.text} again") if rng.random() < share else a for a in answers]
    return [replace(a, seconds=a.seconds * float(rng.uniform(0.7, 1.6))) for a in words]


def looked(before: list[Reply], now: list[Reply | None], earlier: list[dict[str, float]]) -> list[Line]:
    pairs = [None if b is None else (a, b) for a, b in zip(before, now, strict=True)]
    return judge(claims(pairs, CRITERIA), earlier, ALPHA)


def e_values(lines: list[Line]) -> dict[str, float]:
    return {line.claim.name: line.claim.e_value for line in lines}


def drifted(lines: list[Line]) -> set[str]:
    return {line.claim.name for line in lines if line.outcome == "drift"}


def refusing(answer: Reply) -> Reply:
    return replace(answer, text="I'm sorry, but I can't help with that.", finish="content_filter")


@pytest.mark.parametrize("week", [1, WEEKS])
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda a: replace(a, text=" ".join(a.text.split()[:4])), "length, fallen"),
        (refusing, "refused"),
        (lambda a: replace(a, text=f"Assistant: {a.text}"), "marked"),
        (lambda a: replace(a, text="so it is and " * 12), "circling"),
        (lambda a: replace(a, sources=()), "sources"),
        (lambda a: replace(a, seconds=9.0), "slower"),
        (lambda a: replace(a, text=a.text[::-1]), "changed"),
        (lambda a: replace(a, text=f"{a.text} and {a.text}"), "length"),
    ],
)
def test_a_silent_change_of_every_answer_is_found_at_the_first_look_that_it_meets(
    change: Callable[[Reply], Reply], seen: str, week: int
) -> None:
    before = golden(np.random.default_rng(1))
    well = e_values(looked(before, [*before], []))
    lines = looked(before, [change(answer) for answer in before], [well] * (week - 1))
    assert overall(lines) == "drift"
    assert seen in drifted(lines)


def test_a_guard_that_stops_refusing_is_drift_too() -> None:
    answers = golden(np.random.default_rng(2))
    before = [refusing(answer) if number % 2 else answer for number, answer in enumerate(answers)]
    assert "refused, fallen" in drifted(looked(before, [*answers], []))


def test_a_service_that_answers_nothing_has_drifted() -> None:
    before = golden(np.random.default_rng(3))
    lines = looked(before, [None] * COUNT, [])
    assert drifted(lines) == {"failed"}
    assert {line.claim.mean for line in lines if line.claim.name != "failed"} == {None}


def test_a_release_that_is_well_is_never_called_otherwise_in_a_year_and_nearly_always_shown_to_be() -> None:
    rng = np.random.default_rng(4)
    before, earlier, outcomes = golden(rng), [], []
    for _ in range(WEEKS):
        lines = looked(before, [*wobbling(before, rng)], earlier)
        earlier.append(e_values(lines))
        outcomes.append(overall(lines))
    assert "drift" not in outcomes
    assert outcomes.count("none") > 0.9 * WEEKS


def test_a_year_at_the_very_margin_cries_wolf_as_rarely_as_alpha_says_and_a_fixed_test_every_week_does_not() -> None:
    rng, criterion = np.random.default_rng(5), Criterion(measure="changed", margin=0.3)
    releases, ours, fixed = 120, 0, 0
    for _ in range(releases):
        weeks = rng.random((WEEKS, COUNT)) < 0.3
        looks = [Claim("changed", criterion, tuple(map(float, week)), 0.3).e_value for week in weeks]
        ours += evidence(looks) >= 1 / ALPHA
        fixed += any(exact_share(int(week.sum()), COUNT, 1 - 2 * ALPHA).low > 0.3 for week in weeks)
    assert ours <= releases * ALPHA
    assert fixed > releases / 2


def test_evidence_gathers_over_weeks_up_to_that_of_one_look() -> None:
    assert evidence([300.0]) == 150.0
    assert 240 < evidence([300.0] * 5) < 300


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.02, 0.98))
def test_answers_whose_mean_keeps_the_margin_are_no_evidence_whatever_each_of_them_is(
    values: list[float], null: float
) -> None:
    mean = float(np.mean(values))
    kept = tuple(value * min(1.0, null / mean) if mean > 0 else value for value in values)
    criterion = Criterion(measure="changed", margin=null)
    assert Claim("changed", criterion, kept, null).e_value <= 1 + 1e-9


def test_the_weights_of_all_looks_come_to_one() -> None:
    assert sum(map(weight, range(1, 100_001))) == pytest.approx(1, abs=1e-4)
    assert sum(map(weight, range(1, 1001))) < 1


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(0, 1e6))
def test_another_look_never_takes_evidence_away(seen: list[float], more: float) -> None:
    assert evidence([*seen, more]) >= evidence(seen)


def test_a_few_missing_answers_are_no_drift_and_no_score() -> None:
    before = golden(np.random.default_rng(6))
    lines = looked(before, [None, *before[1:]], [])
    assert drifted(lines) == set()
    (changed,) = [line.claim for line in lines if line.claim.name == "changed"]
    assert len(changed.values) == COUNT - 1


def test_an_unknown_measure_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown measure 'lenght' \(known: changed"):
        Criterion(measure="lenght", margin=0.1)
    assert {criterion.measure for criterion in CRITERIA} == {*MEASURES, "failed"}
