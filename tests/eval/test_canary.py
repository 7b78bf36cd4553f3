"""The canary's statistics: differences in time and by pairs, what counts, and when something is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.canary import (
    Criterion,
    Observation,
    Verdict,
    assess,
    block_differences,
    capped,
    decide,
    observed,
    pair_differences,
)
from thumbwheel.arms import CANARY, CONTROL
from thumbwheel.ledger import Entry

ERRORS = Criterion(metric="errors", margin=0.05, scale=1)
FIRST = Criterion(metric="first_token", margin=0.1, scale=4)
THUMBS = Criterion(metric="thumbs_down", margin=0.1, scale=1)
ARMS = st.sampled_from([CANARY, CONTROL])
STREAMS = st.lists(st.builds(Observation, unit=st.sampled_from("abcdef"), arm=ARMS, value=st.floats(0, 1)), max_size=60)


def entry(unit: str, arm: str, message: str = "m", **changed: object) -> Entry:
    facts = {"failed": False, "guarded": False, "first_seconds": 1.0, "at": 0.0} | changed
    return Entry("salt", "live", unit, arm, message, **facts)  # type: ignore[arg-type]


def stream(values: dict[str, list[float]]) -> list[Observation]:
    """Return observations of both arms, one of each in turn."""
    pairs = zip(values[CANARY], values[CONTROL], strict=True)
    return [Observation(f"{n}{arm}", arm, x) for n, p in enumerate(pairs) for arm, x in zip(values, p, strict=True)]


def verdict(criterion: Criterion, canary: list[float], control: list[float]) -> Verdict:
    seen = stream({CANARY: canary, CONTROL: control})
    return assess(criterion, seen, block_differences(seen), 0.05, 4)


def test_a_block_ends_with_the_answer_by_which_both_arms_have_one() -> None:
    values = [
        (CONTROL, 0.0),
        (CONTROL, 1.0),
        (CANARY, 1.0),
        (CANARY, 0.0),
        (CANARY, 1.0),
        (CONTROL, 1.0),
        (CONTROL, 0.0),
    ]
    seen = [Observation("u", arm, value) for arm, value in values]
    assert block_differences(seen) == [0.5, -0.5]


@given(STREAMS, STREAMS)
def test_more_answers_only_add_differences(first: list[Observation], more: list[Observation]) -> None:
    for compare in (block_differences, pair_differences):
        before = compare(first)
        assert compare([*first, *more])[: len(before)] == before
        assert all(-1 <= one <= 1 for one in before)


@given(STREAMS)
def test_arms_changed_over_turn_every_difference_round(seen: list[Observation]) -> None:
    other = {CANARY: CONTROL, CONTROL: CANARY}
    turned = [Observation(one.unit, other[one.arm], one.value) for one in seen]
    assert block_differences(turned) == pytest.approx([-one for one in block_differences(seen)])


def test_a_prompt_that_both_arms_answered_is_a_difference_whoever_was_first() -> None:
    seen = [Observation("a", CANARY, 1.0), Observation("b", CONTROL, 0.5), Observation("a", CONTROL, 0.0)]
    assert pair_differences([*seen, Observation("b", CANARY, 0.0)]) == [1.0, -0.5]


@given(STREAMS, st.integers(1, 3))
def test_no_unit_counts_more_often_than_it_may(seen: list[Observation], most: int) -> None:
    kept = capped(seen, most)
    assert all(sum((one.unit, one.arm) == key for one in kept) <= most for key in {(o.unit, o.arm) for o in kept})
    assert capped(kept, most) == kept


def test_an_answer_that_broke_off_counts_among_the_errors_alone() -> None:
    entries = [entry("a", CANARY, failed=True, first_seconds=None), entry("b", CONTROL, first_seconds=2.0)]
    assert [one.value for one in observed(ERRORS, entries, [], 1)] == [1.0, 0.0]
    assert [(one.arm, one.value) for one in observed(FIRST, entries, [], 1)] == [(CONTROL, 0.5)]


def test_a_first_token_is_cut_at_its_scale() -> None:
    assert [one.value for one in observed(FIRST, [entry("a", CANARY, first_seconds=60.0)], [], 1)] == [1.0]


def test_the_first_thumb_on_an_answer_counts_in_the_order_of_the_thumbs() -> None:
    entries = [entry("a", CANARY, "one"), entry("b", CONTROL, "two")]
    thumbs = [("two", True), ("strange", True), ("one", False), ("two", False)]
    assert [(one.arm, one.value) for one in observed(THUMBS, entries, thumbs, 1)] == [(CONTROL, 1.0), (CANARY, 0.0)]


def test_equal_arms_are_shown_safe_and_broken_ones_harmful() -> None:
    assert verdict(ERRORS, [0.0] * 111, [0.0] * 111).state == "safe"
    assert verdict(ERRORS, [0.0] * 110, [0.0] * 110).state == "open"
    assert verdict(ERRORS, [1.0] * 14, [0.0] * 14).state == "harm"


def test_what_was_known_once_stays_known() -> None:
    safe = verdict(ERRORS, [0.0] * 111 + [1.0, 0.0, 1.0], [0.0] * 114)
    assert safe.state == "safe"
    assert safe.low is not None
    assert safe.difference is not None
    assert safe.low < safe.difference < (safe.high or 0)


def test_without_a_difference_a_criterion_abstains() -> None:
    assert verdict(THUMBS, [], []).state == "abstains"


SAFE = verdict(ERRORS, [0.0] * 120, [0.0] * 120)
OPEN = verdict(FIRST, [0.5] * 3, [0.5] * 3)
HARM = verdict(FIRST, [1.0] * 40, [0.0] * 40)
SILENT = verdict(THUMBS, [], [])
UNSEEN = verdict(ERRORS, [], [])


def test_harm_in_any_criterion_rolls_back_at_any_time() -> None:
    found = decide([SAFE, HARM, SILENT], may_promote=False)
    assert found.outcome == "roll_back"
    assert "time to the first token" in found.reason


def test_all_must_be_safe_and_the_last_share_reached() -> None:
    assert decide([SAFE, SILENT], may_promote=True).outcome == "promote"
    assert decide([SAFE, SILENT], may_promote=False).outcome == "wait"
    assert decide([SAFE, OPEN], may_promote=True).outcome == "wait"


def test_only_what_may_never_be_seen_may_abstain_and_it_is_said_that_it_did() -> None:
    assert "nothing can be said of thumbs down" in decide([SAFE, SILENT], may_promote=True).reason
    assert decide([SAFE, UNSEEN], may_promote=True).outcome == "wait"
    assert decide([SILENT], may_promote=True).outcome == "wait"


@pytest.mark.parametrize(("worse", "forbidden"), [(0.0, "harm"), (0.05, "harm"), (0.05, "safe")])
def test_neither_error_is_more_frequent_than_alpha_however_often_one_looks(worse: float, forbidden: str) -> None:
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(200):
        canary, control = (list(map(float, rng.random(400) < rate)) for rate in (0.05 + worse, 0.05))
        wrong += verdict(ERRORS, canary, control).state == forbidden
    assert wrong <= 0.05 * 200 + 4
