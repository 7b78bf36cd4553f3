"""The proof of the gate: what it calls wrong, what it keeps, and that enough is planted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import gate_proof
from benchmarks.planted_candidates import FILLER, PLANTED, Planted, Turn, changed, dpo_params, sft_params
from eval.criteria import Criterion, Line
from eval.gate import Decision
from tests.stages.worlds import make_world
from thumbwheel.settings import REPOSITORY


def decision(outcome: Any) -> Decision:
    criterion = Criterion(name="heldout", metric="heldout_nll", kind="superiority", margin=0.0, required=True)
    return Decision(outcome, "because", False, "no judge", (Line(criterion, outcome, "it is so"),))


@pytest.fixture
def turn(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Turn:
    """An empty turn under the repository's parameters."""
    make_world(workspace)
    (workspace / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    found = Turn(workspace / "models", [], [], [], [], [])
    monkeypatch.setattr(Turn, "read", classmethod(lambda cls: found))
    return found


def prove(monkeypatch: pytest.MonkeyPatch, outcomes: dict[str, str]) -> list[str]:
    """Run the proof with decisions in the place of measurements; return who was made."""
    made: list[str] = []
    planted = {
        name: Planted(f"{name} in words", name.startswith("bad"), lambda models, turn, name=name: made.append(name))
        for name in outcomes
    }
    left = iter(outcomes.values())
    monkeypatch.setattr(gate_proof, "PLANTED", planted)
    monkeypatch.setattr(gate_proof, "weigh", lambda models, turn, rules: decision(next(left)))
    monkeypatch.setattr(sys, "argv", ["gate_proof"])
    gate_proof.main()
    return made


def test_ten_bad_candidates_and_two_good_ones_are_planted() -> None:
    bad = [planted.bad for planted in PLANTED.values()]
    assert (bad.count(True), bad.count(False)) == (10, 2)
    assert len({name.replace(" ", "-") for name in PLANTED}) == len(PLANTED)


def test_a_bad_one_may_be_stopped_or_left_open_and_a_good_one_pass_or_be_left_open(
    turn: Turn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prove(monkeypatch, {"bad 1": "fail", "bad 2": "inconclusive", "good 1": "pass", "good 2": "inconclusive"})
    assert "4 of 4 as they should be" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "outcome"), [("bad 1", "pass"), ("good 1", "fail")])
def test_a_bad_one_that_passes_and_a_good_one_that_fails_are_named(
    turn: Turn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, outcome: str
) -> None:
    with pytest.raises(SystemExit):
        prove(monkeypatch, {"bad 0": "fail", name: outcome})
    assert f"1 of 2 as they should be; not: {name}" in capsys.readouterr().out


def test_a_second_run_goes_on_where_the_first_ended(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prove(monkeypatch, {"bad 1": "fail"}) == ["bad 1"]
    assert prove(monkeypatch, {"bad 1": "fail", "bad 2": "fail"}) == ["bad 2"]


def test_a_verdict_under_other_rules_is_given_anew(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prove(monkeypatch, {"bad 1": "fail"}) == ["bad 1"]
    path = turn.models.parent / "params.yaml"
    path.write_text(path.read_text().replace("max_missing: 0.1 ", "max_missing: 0.2 "))
    assert prove(monkeypatch, {"bad 1": "fail"}) == ["bad 1"]


def test_the_gate_has_to_do_without_a_judge(turn: Turn) -> None:
    rules = gate_proof.read_rules()
    whole = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["gate"]["criteria"]
    assert {criterion.name for criterion in rules.gate.criteria} == {one["name"] for one in whole} - {
        "mt_bench",
        "preferred",
    }
    assert "mt_bench" not in rules.answer.sets


def test_every_reply_is_changed_and_no_question(turn: Turn) -> None:
    rows = changed(turn, lambda reply: f"{FILLER} {reply}")
    said = [message for row in rows for message in row["messages"]]
    assert all(message["content"].startswith(FILLER) == (message["role"] == "assistant") for message in said)
    assert len(rows) >= 20


def test_planted_trainings_run_unwatched_and_short(turn: Turn) -> None:
    for params in (sft_params(), dpo_params(steps=5, learning_rate=0.1, beta=0.3)):
        assert params.sentinel is None
        assert params.optimiser.save_steps == params.optimiser.steps
    assert dpo_params(steps=5, learning_rate=0.1, beta=0.3).beta == 0.3
