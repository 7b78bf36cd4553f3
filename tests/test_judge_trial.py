"""The judge's trial as a command, against judges over HTTP with known verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import judge_trial
from eval.likelihood import likelier, mean_of_answer
from stages.judge import JudgeParams
from tests.conftest import public_or_skip
from tests.fakes import FakeJudge, fake_judge
from thumbwheel.errors import JudgeError
from thumbwheel.settings import settings

ROOT = Path(__file__).parents[1]


def fair(text: str) -> dict[str, float]:
    first, second = text.split("[Answer B]")
    return {"A": 0.9, "B": 0.1} if "GOOD" in first else {"A": 0.1, "B": 0.9} if "GOOD" in second else {"C": 1.0}


def pair(number: int) -> dict[str, Any]:
    sides = ("GOOD", "bad, and longer") if number % 2 else ("bad, and longer", "GOOD")
    row = {"set": "known", "id": f"t{number}", "category": "length", "turns": [f"Which, {number}?"]}
    return row | {"a": sides[0], "b": sides[1], "label": "a" if number % 2 else "b", "reference": []}


def params() -> JudgeParams:
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["judge"]
    return JudgeParams(**section | {"retries": 0, "resamples": 100})


def stood(judge: FakeJudge, monkeypatch: pytest.MonkeyPatch, place: Path, count: int = 8) -> dict[str, Any]:
    monkeypatch.setenv("THUMBWHEEL_JUDGE_URL", judge.url)
    monkeypatch.setenv("THUMBWHEEL_JUDGE_MODEL", "known")
    settings.cache_clear()
    return judge_trial.stand({"known": [pair(n) for n in range(count)]}, params(), place)


def test_a_fair_judge_stands_its_trial_and_the_table_says_so(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_judge(fair) as judge:
        report = stood(judge, monkeypatch, workspace / "trial.json")
    facts = report["sets"]["known"]
    assert (facts["pairs"], facts["failed"], facts["agreement"]["value"]) == (8, 0, 1.0)
    assert facts["self_preference"] is None
    floor = judge_trial.JudgeFloor(min_agreement=0.6, min_kappa=0.3, max_position_bias=0.2, max_failed=0.1)
    assert any(
        line.startswith("| known | 8 | 0 | 1.00") and line.endswith("| yes |")
        for line in judge_trial.markdown(report, floor)
    )


def test_a_trial_that_was_stood_is_not_asked_again(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_judge(fair) as judge:
        first = stood(judge, monkeypatch, workspace / "trial.json")
        calls = judge.calls
        assert stood(judge, monkeypatch, workspace / "trial.json") == first
        assert judge.calls == calls


def test_another_judge_another_prompt_or_other_pairs_stand_trial_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = workspace / "trial.json"
    with fake_judge(fair) as judge, fake_judge(fair) as another:
        stood(judge, monkeypatch, place)
        stood(another, monkeypatch, place)
        assert another.calls == 16
        kept = json.loads(place.read_text())
        kept["asked"]["prompts"] = ["pairwise@1+older"]
        place.write_text(json.dumps(kept))
        assert stood(another, monkeypatch, place)["asked"]["prompts"] != ["pairwise@1+older"]
        stood(another, monkeypatch, place, count=10)
        assert another.calls == 20


def test_a_judge_that_goes_down_halfway_leaves_no_report(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_judge(fair) as judge:
        judge.fails_after = 5
        with pytest.raises(JudgeError, match="replies are kept"):
            stood(judge, monkeypatch, workspace / "trial.json")
    assert not (workspace / "trial.json").exists()


def test_a_sample_is_fixed_by_its_seed_and_keeps_the_order() -> None:
    rows = [pair(n) for n in range(30)]
    first = judge_trial.sample(rows, 10, 1)
    assert first == judge_trial.sample(rows, 10, 1) != judge_trial.sample(rows, 10, 2)
    assert [rows.index(row) for row in first] == sorted(rows.index(row) for row in first)
    assert judge_trial.sample(rows, 99, 1) == rows


def test_llmbar_is_read_with_its_natural_and_adversarial_pairs(workspace: Path) -> None:
    public_or_skip("judge/llmbar")
    (workspace / "params.yaml").write_text(yaml.safe_dump({"pose": {"sets": [], "knowledge": "none"}}))
    sets = dict(judge_trial.labelled_sets([]))
    assert sum(map(len, sets.values())) == 419
    assert {row["label"] for rows in sets.values() for row in rows} == {"a", "b"}


def test_the_likelihood_of_an_answer_leaves_out_its_question_and_what_was_added() -> None:
    given = {"text_offset": [0, 4, 6, 9, 12], "token_logprobs": [None, -9.0, -1.0, -3.0, -8.0]}
    assert mean_of_answer({"choices": [{"logprobs": given}]}, 6, 12) == -2.0
    assert mean_of_answer({"choices": [{"logprobs": None}]}, 6, 12) is None
    assert (likelier(-1.0, -2.0), likelier(-2.0, -1.0), likelier(-1.0, -1.0)) == ("a", "b", None)
