"""The judge stage against judges with known verdicts, from plan to pin."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import judge as stage
from stages.judge import JudgeParams, plan
from tests.fakes import fake_judge
from tests.stages.judged import BETTER, PARAMS, QUESTIONS, answers, fair, judged_by, prepare, prepare_many
from thumbwheel.errors import JudgeError
from thumbwheel.lake import read_pin
from thumbwheel.settings import settings


def test_a_fair_judge_gives_the_better_side_every_pair_in_both_orders(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(workspace, answers(**BETTER))
    with fake_judge(fair) as judge:
        rows = judged_by(judge, monkeypatch)
    pairwise = [row for row in rows if row["kind"] == "pairwise"]
    assert len(pairwise) == 8
    assert {row["winner"] for row in pairwise} == {"candidate"}
    assert all(row["score"] == pytest.approx(0.9) for row in pairwise)
    facts = read_pin("judge").facts
    assert (facts["errors"], facts["flipped"]) == (0, 0)
    assert facts["trial"]["agreement"]["value"] == 1.0


def test_a_judge_that_likes_the_first_answer_gives_no_wins_only_flips(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(workspace, answers(**BETTER))
    with fake_judge(lambda text: {"7": 1.0} if "Grade" in text else {"A": 0.9, "B": 0.1}) as judge:
        judged_by(judge, monkeypatch)
    facts = read_pin("judge").facts
    assert (facts["pairs"], facts["flipped"]) == (4, 4)
    assert facts["trial"]["position_bias"]["value"] == 1.0


def test_an_unparseable_judge_gives_errors_and_no_scores(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, answers(**BETTER))
    with fake_judge(lambda _: {"Well": 1.0}) as judge:
        rows = judged_by(judge, monkeypatch)
    assert all(row["error"].startswith("unparseable") for row in rows)
    assert all(row["score"] is None and row["winner"] is None for row in rows)
    assert read_pin("judge").facts["trial"]["failed"] == 2


def test_equal_replies_are_a_tie_without_a_call(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, answers(candidate=["x", "y"], champion=["x", "y"]), single_sets=[])
    with fake_judge(fair) as judge:
        rows = judged_by(judge, monkeypatch)
        assert judge.calls == 2
    assert {row["winner"] for row in rows if row["kind"] == "pairwise"} == {"tie"}


def test_a_missing_reply_is_an_error_that_names_the_side(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, answers(candidate=["GOOD"], champion=["poor", "poor"]))
    with fake_judge(fair) as judge:
        rows = judged_by(judge, monkeypatch)
    second = [row for row in rows if row["kind"] == "pairwise" and row["turn"] == 1]
    assert {row["error"] for row in second} == {"no answer: candidate"}


def test_a_judge_that_is_down_leaves_no_pin_and_names_the_address(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(workspace, answers(**BETTER))
    with fake_judge(fair) as judge:
        judge.fails_after = 3
        with pytest.raises(JudgeError, match=judge.url):
            judged_by(judge, monkeypatch)
        assert not (workspace / "data/pins/judge.json").exists()
        judge.fails_after = None
        assert len(judged_by(judge, monkeypatch)) == 20


def test_references_guide_only_the_categories_that_are_named() -> None:
    rows = answers(**BETTER)
    work = plan([{"a": None, "b": None, **q} for q in QUESTIONS], rows, JudgeParams(**PARAMS))
    items = [item for group in work.pairs for item in group]
    texts = {item.row["question"]: item.ask.messages[-1][1] for item in items if item.ask and item.row["turn"] == 1}
    assert "To the first question: two\n  To the second question: three" in texts["m1"].replace("\nTo", "\n  To")
    assert "known to be right" not in texts["m2"]


def test_an_endpoint_without_a_model_is_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, answers(**BETTER))
    monkeypatch.setenv("THUMBWHEEL_JUDGE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.delenv("THUMBWHEEL_JUDGE_MODEL", raising=False)
    settings.cache_clear()
    with pytest.raises(JudgeError, match="THUMBWHEEL_JUDGE_MODEL"):
        stage.main()


def test_rubrics_grade_both_sides_and_faithfulness_needs_something_to_be_faithful_to() -> None:
    params = JudgeParams(
        **PARAMS | {"rubric": {"sets": ["mt_bench"], "rubrics": ["faithfulness", "tone"], "max_questions": 9}}
    )
    work = plan([{"a": None, "b": None, "context": [], **q} for q in QUESTIONS], answers(**BETTER), params)
    graded = [
        (i.row["kind"], i.row["question"], i.row["side"]) for i in work.others if i.row["kind"].startswith("rubric")
    ]
    sides = ("candidate", "champion")
    assert graded == [
        *(("rubric_faithfulness", "m1", side) for side in sides),
        *(("rubric_tone", question, side) for question in ("m1", "m2") for side in sides),
    ]


def test_a_judge_that_answers_garbage_gives_errors_that_a_better_one_mends(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(workspace, answers(**BETTER))
    with fake_judge(fair) as judge:
        judge.refusal = 400
        with pytest.raises(JudgeError, match="answered none"):
            judged_by(judge, monkeypatch)
        assert not (workspace / "data/pins/judge.json").exists()
        judge.refusal = 200
        assert all(row["error"] is None for row in judged_by(judge, monkeypatch))


def test_a_suite_without_questions_and_a_suite_of_one_end_in_a_pin(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_judge(fair) as judge:
        for count in (1, 2):
            prepare_many(workspace, "GOOD", "poor", count, pairwise_sets=["mt_bench"] if count == 1 else [])
            judged_by(judge, monkeypatch)
            facts = read_pin("judge").facts
            assert (facts["pairs"], facts["sequential"]["answer"]) == (count % 2, None)
            assert facts["trial"]["pairs"] == 0
