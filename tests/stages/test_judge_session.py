"""How long judging goes on, what it costs, and what a rerun costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import judge as stage
from tests.fakes import fake_judge
from tests.stages.judged import BETTER, SEQUENTIAL, answers, fair, judged_by, prepare, prepare_many
from thumbwheel.lake import read_pin


def test_a_rerun_makes_no_call_and_the_same_pin(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, answers(**BETTER))
    with fake_judge(fair) as judge:
        judged_by(judge, monkeypatch)
        pin, calls = (workspace / "data/pins/judge.json").read_bytes(), judge.calls
        stage.main()
        assert judge.calls == calls
    assert (workspace / "data/pins/judge.json").read_bytes() == pin


@pytest.mark.parametrize(("candidate", "champion", "answer"), [("GOOD", "poor", "above"), ("poor", "GOOD", "below")])
def test_judging_ends_once_the_answer_is_known_and_says_what_it_saved(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, candidate: str, champion: str, answer: str
) -> None:
    prepare_many(workspace, candidate, champion)
    with fake_judge(fair) as judge:
        judged_by(judge, monkeypatch)
    ended = read_pin("judge").facts["sequential"]
    assert ended["answer"] == answer
    assert SEQUENTIAL["min_questions"] <= ended["judged"] < ended["questions"] == 40
    assert judge.calls == 2 * ended["judged"]
    assert ended["calls_saved"] == 2 * (40 - ended["judged"])


def test_what_the_judge_cannot_tell_apart_is_judged_to_the_end(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_many(workspace, "poor", "dull")
    with fake_judge(lambda _: {"A": 0.9, "B": 0.1}) as judge:
        judged_by(judge, monkeypatch)
    ended = read_pin("judge").facts["sequential"]
    assert (ended["answer"], ended["judged"], ended["calls_saved"]) == (None, 40, 0)


def test_where_judging_ends_does_not_depend_on_how_many_are_asked_at_once(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = []
    for concurrency in (1, 16):
        prepare_many(workspace, "GOOD", "poor", concurrency=concurrency)
        with fake_judge(fair) as judge:
            monkeypatch.setattr("stages.judge.judge_identity", lambda: "known")
            judged_by(judge, monkeypatch)
        pins.append((workspace / "data/pins/judge.json").read_bytes())
    assert pins[0] == pins[1]


def test_tokens_and_money_are_counted_and_are_the_same_from_the_cache(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(workspace, answers(**BETTER), price={"prompt": 2.0, "completion": 8.0})
    with fake_judge(fair) as judge:
        judge.tokens = (100, 1)
        judged_by(judge, monkeypatch)
        cost = read_pin("judge").facts["cost"]
        stage.main()
    assert cost == {
        "prompt": 100 * judge.calls,
        "completion": judge.calls,
        "unmeasured": 0,
        "money": pytest.approx(judge.calls * (100 * 2 + 8) / 1e6),
    }
    assert read_pin("judge").facts["cost"] == cost


def test_an_unknown_price_makes_the_cost_unknown_and_not_zero(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, answers(**BETTER))
    with fake_judge(fair) as judge:
        judge.tokens = (100, 1)
        judged_by(judge, monkeypatch)
    assert read_pin("judge").facts["cost"]["money"] is None
