"""People's verdicts: only those on these very answers count, and the others are counted by their reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eval.people import people_cases, read_people
from eval.trial import Case
from thumbwheel.errors import JudgeError

BUNDLES = {"candidate": "c1", "champion": "d1"}
JUDGED = {("mt_bench", "q1"), ("mt_bench", "q2")}


def line(**changes: Any) -> str:
    one = {"set": "mt_bench", "question": "q1", "winner": "candidate", "rater": "ana", **BUNDLES}
    return json.dumps(one | changes)


def read(*lines: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    return read_people("\n".join(lines), "verdicts.jsonl", JUDGED, BUNDLES)


def test_a_verdict_on_these_answers_counts_with_its_rater() -> None:
    rows, rejected = read(line(), line(question="q2", winner="tie"), "")
    assert [(row["kind"], row["question"], row["score"], row["judge"]) for row in rows] == [
        ("human", "q1", 1.0, "ana"),
        ("human", "q2", 0.5, "ana"),
    ]
    assert rejected == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"candidate": "last week"}, "other_bundles"),
        ({"champion": "last week"}, "other_bundles"),
        ({"question": "q9"}, "unknown_question"),
        ({"winner": "champion"}, "repeated_rater"),
    ],
)
def test_what_does_not_count_is_counted_by_its_reason(changes: dict[str, str], reason: str) -> None:
    rows, rejected = read(line(), line(**changes))
    assert [row["winner"] for row in rows] == ["candidate"]
    assert rejected == {reason: 1}


@pytest.mark.parametrize("bad", ["{", "[]", "3", line(winner="both"), line(question=81), json.dumps({"set": "s"})])
def test_a_line_that_is_no_verdict_is_named(bad: str) -> None:
    with pytest.raises(JudgeError, match=r"verdicts\.jsonl, line 2"):
        read(line(), bad)


def judged(question: str, order: str, winner: str | None, turn: int = 0) -> dict[str, Any]:
    return {"kind": "pairwise", "set": "mt", "question": question, "turn": turn, "order": order, "winner": winner}


def human(question: str, winner: str) -> dict[str, Any]:
    return {"kind": "human", "set": "mt", "question": question, "turn": 0, "order": None, "winner": winner}


def cases_of(*rows: dict[str, Any]) -> list[Case]:
    both = {"candidate": {"replies": ["long answer"]}, "champion": {"replies": ["short"]}}
    return people_cases(rows, {("mt", name): both for name in ("q1", "q2")})


def test_where_people_and_judge_both_spoke_the_judge_stands_trial() -> None:
    rows = [human("q1", "candidate"), judged("q1", "ab", "candidate"), judged("q1", "ba", None), human("q2", "tie")]
    assert cases_of(*rows) == [Case("q1", "mt", "a", True, "a", None)]


def test_the_judges_last_turn_counts() -> None:
    rows = [judged("q1", order, "champion", turn) for order in ("ab", "ba") for turn in (0, 1)]
    rows[0]["winner"] = "candidate"
    (case,) = cases_of(human("q1", "champion"), *rows)
    assert (case.a_first, case.b_first, case.label) == ("b", "b", "b")


@pytest.mark.parametrize(
    ("winners", "label"),
    [
        (["candidate", "champion"], "tie"),
        (["candidate", "candidate", "champion"], "a"),
        (["tie", "tie", "champion"], "tie"),
        (["tie", "champion"], "b"),
    ],
)
def test_peoples_label_is_what_most_of_them_said(winners: list[str], label: str) -> None:
    (case,) = cases_of(judged("q1", "ab", "tie"), judged("q1", "ba", "tie"), *(human("q1", w) for w in winners))
    assert case.label == label
