"""The decision on preferences: what people say, when judging stopped, and what a trial is worth."""

from __future__ import annotations

from typing import Any

import pytest

from eval.criteria import Measurement
from eval.gate import decide
from tests.eval.test_gate import BETTER, LIKED, likelihood, outcome, rules, trial
from thumbwheel.errors import GateError


def preference(rate: float, pairs: int = 60, **more: Any) -> Measurement:
    """Win rates of which so large a share are wins and the rest losses, evenly mixed."""
    won = tuple(float(int((i + 1) * rate) > int(i * rate)) for i in range(pairs))
    return Measurement(won, (0.5,) * pairs, **more)


def spoken(rate: float, people: int, pairs: int = 60) -> tuple[float | None, ...]:
    return (*preference(rate, people).candidate, *[None] * (pairs - people))


def test_people_are_heard_even_where_the_judge_is_not() -> None:
    measured = {"pairwise_win_rate": preference(0.5, people=spoken(0.9, 40))}
    decision = decide(measured, trial(kappa=0.0), rules(LIKED))
    assert not decision.judge_heard
    assert decision.lines[0].outcome == "pass"
    assert decision.lines[0].people == 40
    assert "people's verdicts on 40 pairs" in str(decision.lines[0].method)


def test_people_overrule_a_judge_that_is_heard_and_wrong() -> None:
    judge_alone = preference(0.95)
    with_people = preference(0.95, people=spoken(0.1, 40))
    assert outcome({"pairwise_win_rate": judge_alone}, LIKED) == "pass"
    assert outcome({"pairwise_win_rate": with_people}, LIKED) == "fail"


def test_too_few_people_change_nothing() -> None:
    measured = {"pairwise_win_rate": preference(0.9, people=spoken(0.0, 5))}
    line = decide(measured, trial(), rules(LIKED)).lines[0]
    assert (line.outcome, line.people) == ("pass", 0)


def test_pairs_that_were_judged_until_the_answer_was_known_are_tested_so_that_it_holds() -> None:
    fixed = decide({"pairwise_win_rate": preference(0.64)}, trial(), rules(LIKED)).lines[0]
    stopped = decide({"pairwise_win_rate": preference(0.64, stopped=True)}, trial(), rules(LIKED)).lines[0]
    assert fixed.outcome == "pass"
    assert stopped.outcome == "inconclusive"
    assert stopped.low < fixed.low < fixed.high < stopped.high
    assert stopped.mde > fixed.mde


@pytest.mark.parametrize(("rate", "expected"), [(0.9, "pass"), (0.1, "fail"), (0.5, "inconclusive")])
def test_an_early_stop_can_end_either_way(rate: float, expected: str) -> None:
    assert outcome({"pairwise_win_rate": preference(rate, stopped=True)}, LIKED) == expected


def test_all_ties_are_an_honest_inconclusive_with_an_interval() -> None:
    for stopped in (False, True):
        ties = Measurement((0.5,) * 40, (0.5,) * 40, stopped=stopped)
        line = decide({"pairwise_win_rate": ties}, trial(), rules(LIKED)).lines[0]
        assert (line.outcome, line.delta) == ("inconclusive", 0.0)
        assert line.low < 0 < line.high


def test_a_single_question_decides_nothing_and_says_so() -> None:
    line = decide({"pairwise_win_rate": Measurement((1.0,), (0.5,))}, trial(), rules(LIKED)).lines[0]
    assert (line.outcome, line.reason) == ("inconclusive", "only 1 pairs (at least 8)")


def test_a_metric_without_bounds_cannot_be_stopped_early() -> None:
    stopped = Measurement(likelihood(0.3).candidate, likelihood(0.3).champion, stopped=True)
    with pytest.raises(GateError, match="'heldout_nll' cannot be stopped early"):
        decide({"heldout_nll": stopped}, trial(), rules(BETTER))


def test_a_trial_that_does_not_hold_for_these_verdicts_is_no_trial() -> None:
    decision = decide({"pairwise_win_rate": preference(0.9)}, trial(), rules(LIKED), retrial="the prompt is new")
    assert (decision.judge_heard, decision.judge_reason) == (False, "the prompt is new")
    assert decision.lines[0].outcome == "abstain"
