"""What a judge's reply says: a verdict or a grade by the probabilities of its tokens, or by its words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.judge import load_prompt
from eval.ruling import read_ruling, resolve


def steps(*tops: dict[str, float]) -> dict[str, Any]:
    """A kept reply whose tokens had these probabilities; the likeliest was said."""
    import math

    def one(top: dict[str, float]) -> dict[str, Any]:
        return {"token": max(top, key=lambda t: top[t]), "top": [[t, math.log(p)] for t, p in top.items()]}

    return {"text": one(tops[0])["token"], "steps": [one(top) for top in tops]}


def test_a_verdict_that_flips_with_the_order_is_a_tie_and_counted() -> None:
    assert resolve("candidate", "champion") == ("tie", True)
    assert resolve("candidate", "candidate") == ("candidate", False)


@given(st.sampled_from(["candidate", "champion", "tie"]), st.sampled_from(["candidate", "champion", "tie"]))
def test_a_win_needs_both_orders(one: str, other: str) -> None:
    joint, flipped = resolve(one, other)
    assert (joint == "candidate") == (one == other == "candidate")
    assert flipped == ({one, other} == {"candidate", "champion"})


def test_a_score_is_the_expected_value_over_the_grades() -> None:
    ruling = read_ruling(steps({"7": 0.4, "8": 0.4, "The": 0.2}), "score", 0.2)
    assert ruling.expected_score == pytest.approx(7.5)


def test_a_ten_spelt_as_two_tokens_is_a_ten() -> None:
    ruling = read_ruling(steps({"1": 0.8, "9": 0.2}, {"0": 0.9, "\n": 0.1}), "score", 0.2)
    assert ruling.probabilities["10"] == pytest.approx(0.72)
    assert ruling.probabilities["1"] == pytest.approx(0.08)


def test_a_space_before_the_verdict_is_passed_over() -> None:
    assert read_ruling(steps({" ": 0.9, "7": 0.1}, {"8": 1.0}), "score", 0.2).expected_score == pytest.approx(8.0)


def test_a_one_that_was_not_said_could_be_a_ten_and_is_left_out() -> None:
    ruling = read_ruling(steps({"9": 0.6, "1": 0.4}), "score", 0.2)
    assert ruling.expected_score == pytest.approx(9.0)


@pytest.mark.parametrize(("text", "score"), [("[[8]]", 8), ("Rating: [[10]]", 10), ("9/10", 9), ("10", 10), ("7.", 7)])
def test_a_spoken_grade_is_read(text: str, score: int) -> None:
    assert read_ruling({"text": text, "steps": []}, "score", 0.2).expected_score == score


@pytest.mark.parametrize("text", ["", "11", "0", "between 6 and 8", "[[A]]", "8 or 9"])
def test_what_is_no_grade_is_an_error(text: str) -> None:
    assert read_ruling({"text": text, "steps": []}, "score", 0.2).error


@pytest.mark.parametrize("name", ["faithfulness", "relevance", "tone"])
def test_a_rubric_is_graded_from_one_to_five(name: str) -> None:
    assert load_prompt(name).verdicts == "rubric"
    assert read_ruling({"text": "[[4]]", "steps": []}, "rubric", 0.2).expected_score == 4
    assert read_ruling({"text": "4/5", "steps": []}, "rubric", 0.2).expected_score == 4
    assert read_ruling(steps({"1": 0.5, "5": 0.5}), "rubric", 0.2).expected_score == pytest.approx(3)
    assert read_ruling({"text": "7", "steps": []}, "rubric", 0.2).error
