"""The judge's trial on planted judges: a perfect one, one that likes the first answer, one that likes length."""

from __future__ import annotations

import numpy as np
import pytest

from eval.trial import Case, retrial, try_judge


def facts(cases: list[Case]) -> dict:
    return try_judge(cases, np.random.default_rng(1), 200, 0.9)


def cases(a_first: str | None, b_first: str | None, label: str, count: int = 10, a_longer: bool = True) -> list[Case]:
    return [Case(f"q{i}", "factual", label, a_longer, a_first, b_first) for i in range(count)]


def test_a_perfect_judge_agrees_and_leans_nowhere() -> None:
    found = facts(cases("a", "a", "a") + cases("b", "b", "b") + cases("tie", "tie", "tie", 2))
    assert found["agreement"]["value"] == found["kappa"]["value"] == 1.0
    assert found["position_bias"]["value"] == 0.5
    assert found["length_bias"]["value"] == 0.0
    assert found["flips"]["value"] == 0.0


def test_a_judge_that_always_likes_the_first_answer_flips_every_pair() -> None:
    found = facts(cases("a", "b", "a") + cases("a", "b", "b"))
    assert found["position_bias"]["value"] == found["flips"]["value"] == 1.0
    assert found["agreement"]["value"] == 0.0
    assert found["kappa"]["value"] == pytest.approx(0.0)


def test_a_judge_that_likes_length_has_a_length_bias() -> None:
    found = facts(cases("a", "a", "a") + cases("a", "a", "b"))
    assert found["length_bias"]["value"] == pytest.approx(1.0)
    assert found["length_bias"]["low"] > 0


def test_a_verdict_that_failed_counts_as_failed_and_as_nothing_else() -> None:
    found = facts(cases("a", "a", "a") + cases(None, "a", "a", 5))
    assert (found["pairs"], found["failed"]) == (15, 5)
    assert found["agreement"]["value"] == 1.0


def test_a_trial_in_which_nothing_could_be_read_has_no_measures() -> None:
    found = facts(cases(None, None, "a"))
    assert found["agreement"] is None
    assert found["failed"] == 10


def test_an_interval_holds_its_value() -> None:
    found = facts(cases("a", "a", "a", 8) + cases("b", "b", "a", 4))
    assert found["agreement"]["low"] <= found["agreement"]["value"] <= found["agreement"]["high"]


def test_a_judge_that_likes_its_own_answers_has_a_self_preference() -> None:
    own = [Case(f"q{i}", "factual", "ab"[i % 2], True, "a", "a", own="a") for i in range(20)]
    found = facts(own + cases("a", "a", "b", 10))
    assert found["self_preference"]["value"] == pytest.approx(1.0)
    assert found["self_preference"]["low"] > 0


def test_where_no_pair_names_its_author_self_preference_is_unknown_and_not_zero() -> None:
    assert facts(cases("a", "a", "a"))["self_preference"] is None


def test_each_kind_of_pair_is_measured_by_itself() -> None:
    wrong = [Case(f"l{i}", "length", "b", True, "a", "a") for i in range(6)]
    found = facts(cases("a", "a", "a", 4) + wrong)["categories"]
    assert {kind: (one["pairs"], one["agreement"]["value"]) for kind, one in found.items()} == {
        "factual": (4, 1.0),
        "length": (6, 0.0),
    }


def test_agreement_on_eight_of_eight_is_not_sure_to_be_perfect() -> None:
    assert facts(cases("a", "a", "a", 8))["agreement"]["low"] < 0.8


TRIAL = {"judge": "known", "prompts": ["pairwise@3+aaaa"]}


def verdict(**changes: str) -> dict:
    return {"kind": "pairwise", "judge": "known", "prompt": "pairwise@3+aaaa"} | changes


def test_the_trial_holds_for_the_judge_and_the_prompts_that_stood_it() -> None:
    people = verdict(kind="human", judge="ana", prompt=None)
    assert retrial(TRIAL, [verdict(), verdict(prompt=None), verdict(prompt="single@3+cccc"), people]) is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"judge": "another"}, "another"), ({"prompt": "pairwise@4+bbbb"}, "@4"), ({"prompt": "pairwise@3+bbbb"}, "bbbb")],
)
def test_a_changed_judge_or_prompt_must_stand_trial_again(changes: dict[str, str], word: str) -> None:
    assert word in str(retrial(TRIAL, [verdict(), verdict(**changes)]))


def test_a_trial_of_nobody_holds_for_nobody() -> None:
    assert retrial({}, [verdict()]) is not None


@pytest.mark.parametrize("right_and_longer", [3, 10, 17])
def test_a_judge_that_only_looks_at_the_order_has_no_length_bias_whatever_the_pairs(right_and_longer: int) -> None:
    found = facts(cases("a", "b", "a", right_and_longer) + cases("a", "b", "b", 20 - right_and_longer))
    assert found["length_bias"]["value"] == 0.0


def test_where_the_right_answer_is_always_the_longer_nothing_is_known_of_length() -> None:
    assert facts(cases("a", "a", "a"))["length_bias"] is None
