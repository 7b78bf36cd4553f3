"""MT-Bench's tables: grades, win rates, categories and turns, and what failed."""

from __future__ import annotations

from typing import Any

import pytest

from eval.mt_bench import by_category, grades, mean, overall, people_points, win_rates


def won(question: str, order: str, winner: str | None, turn: int = 0) -> dict[str, Any]:
    row = {"kind": "pairwise", "set": "mt_bench", "question": question, "turn": turn, "order": order, "side": None}
    return row | {"winner": winner, "score": None, "error": None if winner else "unparseable: 'Hm'"}


def graded(question: str, turn: int, side: str, score: float | None) -> dict[str, Any]:
    row = {"kind": "single", "set": "mt_bench", "question": question, "turn": turn, "side": side, "order": None}
    return row | {"winner": None, "score": score, "error": None if score else "unparseable"}


def both(question: str, winner: str, turn: int = 0) -> list[dict[str, Any]]:
    return [won(question, order, winner, turn) for order in ("ab", "ba")]


def test_a_grade_needs_every_turn() -> None:
    rows = [graded("q1", 0, "candidate", 6.0), graded("q1", 1, "candidate", 8.0), graded("q2", 0, "candidate", None)]
    assert grades(rows) == {("mt_bench", "q1", "candidate"): 7.0, ("mt_bench", "q2", "candidate"): None}


def test_a_flip_is_half_a_point_and_a_failed_order_is_none() -> None:
    rows = [won("q1", "ab", "candidate"), won("q1", "ba", "champion"), won("q2", "ab", "candidate")]
    rows += [won("q2", "ba", None), *both("q3", "candidate")]
    assert win_rates(rows) == {("mt_bench", "q1"): 0.5, ("mt_bench", "q2"): None, ("mt_bench", "q3"): 1.0}


def test_several_people_on_one_question_are_averaged() -> None:
    row = {"kind": "human", "set": "s", "question": "q"}
    assert people_points([row | {"winner": "candidate"}, row | {"winner": "tie"}]) == {("s", "q"): 0.75}


def test_categories_are_averaged_over_their_questions() -> None:
    rows = [graded(q, 0, side, score) for q, score in (("q1", 4.0), ("q2", 6.0)) for side in ("candidate", "champion")]
    (line,) = by_category({("mt_bench", q): "math" for q in ("q1", "q2")}, rows + both("q1", "candidate"))
    means = {"candidate": 5.0, "champion": 5.0, "win_rate": 1.0}
    assert line == {"category": "math", "questions": 2, **means, "turns": [means]}


def test_each_turn_has_its_own_means() -> None:
    rows = [
        graded("q1", turn, side, grade) for side in ("candidate", "champion") for turn, grade in ((0, 8.0), (1, 4.0))
    ]
    (line,) = by_category({("mt_bench", "q1"): "math"}, rows + both("q1", "candidate") + both("q1", "champion", 1))
    assert [(turn["candidate"], turn["win_rate"]) for turn in line["turns"]] == [(8.0, 1.0), (4.0, 0.0)]
    assert (line["candidate"], line["win_rate"]) == (6.0, 0.5)


def test_a_turn_that_nobody_could_grade_has_no_mean() -> None:
    (line,) = by_category({("mt_bench", "q1"): "math"}, [graded("q1", 0, "candidate", None)])
    assert (line["candidate"], line["champion"], line["win_rate"]) == (None, None, None)


def test_all_categories_together_are_one_more_line() -> None:
    rows = [graded(question, 0, "candidate", float(question[1])) for question in ("q4", "q6")]
    line = overall(rows)
    assert line is not None
    assert (line["category"], line["questions"], line["candidate"]) == ("all", 2, 5.0)
    assert overall([]) is None


@pytest.mark.parametrize(("values", "expected"), [([], None), ([1.0, None], None), ([1.0, 2.0], 1.5)])
def test_a_mean_is_of_all_or_of_none(values: list[float | None], expected: float | None) -> None:
    assert mean(values) == expected
