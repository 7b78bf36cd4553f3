"""The queue for reviewers: its order, what it hides, and what comes back of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from eval.people import read_people
from stages.enqueue import EnqueueParams, comparisons, interleaved, main, releases, replies
from stages.observe import write_reviewed
from tests.events import feedback_event
from thumbwheel.lake import Pin, write_pin, write_table
from thumbwheel.records import ANSWER, FEEDBACK, QUEUED, to_table
from thumbwheel.settings import settings

PARAMS = EnqueueParams(sets=("mt",), comparisons=9, replies_between=1, seed=3)
BUNDLES = {"candidate": "new", "champion": "old"}
QUESTIONS = [{"set": "mt", "id": f"q{n}", "turns": [f"Why {n}?"]} for n in range(6)]


def row(name: str, dislikes: int, doubt: float) -> dict[str, Any]:
    said = {"prompt": [{"role": "user", "content": "Why?"}], "reply": "No.", "user": "u-1", "created_at": "2026-11-01"}
    return {**dict.fromkeys(QUEUED.names), **said, "id": name, "dislikes": dislikes, "doubt": doubt}


def answers(**changes: Any) -> list[dict[str, Any]]:
    empty = dict.fromkeys(ANSWER.names)
    return [
        {**empty, "set": "mt", "question": q["id"], "side": side, "replies": [f"{side} {q['id']}"], **changes}
        for q in QUESTIONS
        for side in BUNDLES
    ]


def test_the_most_disliked_and_least_certain_come_first_and_nobody_is_named() -> None:
    found = replies([row("sure", 3, 0.1), row("open", 1, 1.0), row("hot", 4, 0.9)])
    assert [item["id"] for item in found] == ["hot", "open", "sure"]
    assert "user" not in found[0]


def test_answers_of_releases_are_a_random_sample_in_random_order() -> None:
    found = releases(QUESTIONS, answers(), BUNDLES, PARAMS)
    names = [item["question"] for item in found]
    assert sorted(names) == [q["id"] for q in QUESTIONS]
    assert names != sorted(names)
    assert found == releases(QUESTIONS, answers(), BUNDLES, PARAMS)
    assert [found[0][side]["bundle"] for side in BUNDLES] == ["new", "old"]


def test_one_bundle_on_both_sides_and_failed_answers_are_not_compared() -> None:
    assert releases(QUESTIONS, answers(), {"candidate": "same", "champion": "same"}, PARAMS) == []
    assert releases(QUESTIONS, answers(error="timeout"), BUNDLES, PARAMS) == []


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 4))
def test_interleaving_keeps_all_items_and_both_orders(first: int, second: int, between: int) -> None:
    one, two = [("x", n) for n in range(first)], [("y", n) for n in range(second)]
    found = [*interleaved(one, two, between)]
    assert [item for item in found if item[0] == "x"] == one
    assert [item for item in found if item[0] == "y"] == two


def test_verdicts_on_releases_are_what_the_gate_reads_of_people(workspace: Path) -> None:
    told = {"kind": "comparison", "rating": None, "conversation_id": "mt", "message_id": "q1", "model": "new"}
    events = [
        feedback_event(**told, replaces="old", reason="champion", user="u-r"),
        feedback_event(**told, replaces="older", reason="tie", user="u-r2"),
        feedback_event(),
    ]
    write_table("feedback", to_table(events, FEEDBACK))
    path = workspace / "reviewed.jsonl"
    write_reviewed(path)
    rows, rejected = read_people(path.read_text(), "f", {("mt", "q1")}, BUNDLES)
    assert [(row["winner"], row["judge"]) for row in rows] == [("champion", "u-r")]
    assert rejected == {"other_bundles": 1}
    assert len(comparisons(events)) == 2


def test_the_stage_writes_both_kinds(workspace: Path) -> None:
    (workspace / "params.yaml").write_text(yaml.safe_dump({"enqueue": PARAMS.model_dump(mode="json")}))
    questions = [{**q, "kind": "mt_bench"} for q in QUESTIONS]
    queue = write_table("pairs_queue", to_table([row("i", 1, 1.0)], QUEUED))
    write_pin(Pin(stage="pairs", tables={"queue": queue}))
    write_pin(Pin(stage="pose", tables={"questions": write_table("pose_q", _table(questions))}))
    told = write_table("answers", to_table(answers(), ANSWER))
    write_pin(Pin(stage="answer", tables={"answers": told}, facts={"bundles": BUNDLES}))
    main()
    items = json.loads(settings().queue.read_text())["items"]
    assert [item["kind"] for item in items] == ["reply", *["release"] * 6]


def _table(rows: list[dict[str, Any]]) -> Any:
    from thumbwheel.records import QUESTION

    return to_table(rows, QUESTION)
