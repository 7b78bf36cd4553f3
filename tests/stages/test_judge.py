"""The judge stage against judges with known verdicts, from plan to pin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import judge as stage
from stages.judge import JudgeParams, plan
from tests.fakes import FakeJudge, fake_judge
from thumbwheel.errors import JudgeError, ParamsError
from thumbwheel.lake import Pin, read_pin, read_pinned, write_pin, write_table
from thumbwheel.records import ANSWER, QUESTION, to_table
from thumbwheel.settings import settings

PARAMS: dict[str, Any] = {
    "pairwise_sets": ["mt_bench"],
    "single_sets": ["mt_bench"],
    "reference_categories": ["math"],
    "rubric": {"sets": [], "rubrics": [], "max_questions": 0},
    "trial_set": "trial",
    "sequential": None,
    "human_verdicts": None,
    "price": {"prompt": None, "completion": None},
    "tie_margin": 0.05,
    "min_mass": 0.2,
    "verdict_tokens": 2,
    "max_length": 512,
    "concurrency": 4,
    "retries": 0,
    "pause_seconds": 0.01,
    "timeout_seconds": 5,
    "seed": 1,
    "resamples": 200,
    "confidence": 0.9,
}


def bench(question: str, category: str, *turns: str, reference: tuple[str, ...] = ()) -> dict[str, Any]:
    row = {"set": "mt_bench", "kind": "mt_bench", "id": question, "category": category}
    return row | {"turns": list(turns), "reference": list(reference)}


def labelled(question: str, a: str, b: str, label: str) -> dict[str, Any]:
    row = {"set": "trial", "kind": "trial", "id": question, "category": "factual", "turns": ["Which?"]}
    return row | {"a": a, "b": b, "label": label}


QUESTIONS = [
    bench("m1", "math", "1+1?", "+1?", reference=("two", "three")),
    bench("m2", "writing", "A poem?", "Shorter?"),
    labelled("t1", "GOOD", "bad", "a"),
    labelled("t2", "bad", "GOOD", "b"),
]


def answers(**replies: list[str]) -> list[dict[str, Any]]:
    rows = []
    for side in ("candidate", "champion"):
        for question in ("m1", "m2"):
            row = {"set": "mt_bench", "question": question, "side": side, "bundle": side, "tokens": 1, "seconds": 0.0}
            rows.append(row | {"replies": replies[side], "finish": ["stop"] * len(replies[side])})
    return rows


def fair(text: str) -> dict[str, float]:
    """A judge that likes what holds GOOD in the answer that counts, wherever it stands; a grade of 9 or 2 alike."""
    if "Grade" in text:
        return {"9": 1.0} if "GOOD" in text.rsplit("ssistant", 2)[-2] else {"2": 1.0}
    first, second = text.split("[Answer B]" if "[Answer B]" in text else "[Conversation B]")
    a, b = "GOOD" in first, "GOOD" in second
    return {"A": 0.9, "B": 0.1} if a > b else {"A": 0.1, "B": 0.9} if b > a else {"C": 1.0}


def prepare(root: Path, rows: list[dict[str, Any]], **changes: Any) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump({"judge": PARAMS | changes}))
    pose = write_table("pose.questions", to_table(QUESTIONS, QUESTION))
    write_pin(Pin(stage="pose", tables={"questions": pose}))
    write_pin(Pin(stage="answer", tables={"answers": write_table("answer.answers", to_table(rows, ANSWER))}))


def judged_by(judge: FakeJudge, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setenv("THUMBWHEEL_JUDGE_URL", judge.url)
    monkeypatch.setenv("THUMBWHEEL_JUDGE_MODEL", "known")
    settings.cache_clear()
    stage.main()
    return read_pinned("judge", "verdicts").to_pylist()


BETTER = {"candidate": ["GOOD one", "GOOD two"], "champion": ["poor one", "poor two"]}


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


def test_a_rerun_makes_no_call_and_the_same_pin(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(workspace, answers(**BETTER))
    with fake_judge(fair) as judge:
        judged_by(judge, monkeypatch)
        pin, calls = (workspace / "data/pins/judge.json").read_bytes(), judge.calls
        stage.main()
        assert judge.calls == calls
    assert (workspace / "data/pins/judge.json").read_bytes() == pin


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


def many(count: int, *turns: str) -> list[dict[str, Any]]:
    return [bench(f"q{number:03}", "writing", *turns) for number in range(count)]


def both_sides(questions: list[dict[str, Any]], candidate: str, champion: str) -> list[dict[str, Any]]:
    row = {"set": "mt_bench", "tokens": 1, "seconds": 0.0, "finish": ["stop"], "error": None}
    return [
        row | {"question": question["id"], "side": side, "bundle": side, "replies": [f"{reply} {question['id']}"]}
        for question in questions
        for side, reply in (("candidate", candidate), ("champion", champion))
    ]


SEQUENTIAL = {"alpha": 0.025, "margin": 0.05, "batch": 4, "min_questions": 8}


def prepare_many(root: Path, candidate: str, champion: str, count: int = 40, **changes: Any) -> None:
    questions = many(count, "Say it.")
    parameters = PARAMS | {"single_sets": [], "sequential": SEQUENTIAL} | changes
    (root / "params.yaml").write_text(yaml.safe_dump({"judge": parameters}))
    write_pin(Pin(stage="pose", tables={"questions": write_table("pose.questions", to_table(questions, QUESTION))}))
    table = write_table("answer.answers", to_table(both_sides(questions, candidate, champion), ANSWER))
    bundles = {"candidate": "candidate", "champion": "champion"}
    write_pin(Pin(stage="answer", tables={"answers": table}, facts={"bundles": bundles}))


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


def people(root: Path, *winners: str, candidate: str = "candidate") -> None:
    (root / "data/human").mkdir(parents=True, exist_ok=True)
    row = {"set": "mt_bench", "candidate": candidate, "champion": "champion", "rater": "ana"}
    lines = [json.dumps(row | {"question": f"q{i:03}", "winner": winner}) for i, winner in enumerate(winners)]
    (root / "data/human/week.jsonl").write_text("\n".join(lines))


def test_peoples_verdicts_stand_beside_the_judges_and_stale_ones_are_counted(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_many(workspace, "GOOD", "poor", sequential=None, human_verdicts="data/human/week.jsonl")
    people(workspace, "candidate", "tie", "champion")
    with fake_judge(fair) as judge:
        rows = judged_by(judge, monkeypatch)
        assert [row["score"] for row in rows if row["kind"] == "human"] == [1.0, 0.5, 0.0]
        people(workspace, "candidate", candidate="last week")
        assert not [row for row in judged_by(judge, monkeypatch) if row["kind"] == "human"]
    assert read_pin("judge").rejections == {"other_bundles": 1}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"human_verdicts": "data/human/week.jsonl"}, ParamsError, "exclude each other"),
        ({"human_verdicts": "/tmp/week.jsonl", "sequential": None}, JudgeError, "data/human, which DVC watches"),
        ({"human_verdicts": "data/human/week.jsonl", "sequential": None}, JudgeError, "not there"),
    ],
)
def test_people_who_cannot_be_heard_are_one_clear_line(
    workspace: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    prepare_many(workspace, "GOOD", "poor", **changes)
    with pytest.raises(error, match=words):
        stage.main()


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
