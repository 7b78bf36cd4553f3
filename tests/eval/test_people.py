"""People's verdicts: only those on these very answers count, and the others are counted by their reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eval.people import read_people
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
