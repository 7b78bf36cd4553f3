"""Have answers graded from 1 to 10 by the judge, where `grade.judge` asks for it; a failed verdict is never a grade."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from eval.judge import Ask, NotKeptError, Ruling, load_prompt
from eval.session import VerdictParams, progress
from stages.judge import LOCAL, endpoint, judge_identity, make_judge
from stages.quality.likelihood import worst

log = logging.getLogger(__name__)


class GradeJudgeParams(VerdictParams):
    """`max_judged` rows are drawn, 0 for none; one is rejected in the worst share and below `min_grade`, of 1 to 10."""

    max_judged: int = Field(ge=0)
    worst_share: float = Field(ge=0, le=1)
    min_grade: float = Field(ge=1, le=10)


@dataclass(frozen=True)
class Grades:
    """What the judge said: a grade by id, or an error by id."""

    values: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    judge: str | None = None


def judge_rows(rows: Sequence[Mapping[str, Any]], params: GradeJudgeParams) -> Grades:
    """Return the judge's grade of each row's last answer to the message before it.

    Raises:
        JudgeError: the endpoint cannot be reached or refuses.
    """
    if not rows:
        return Grades()
    identity, asks = judge_identity(), [ask_for(row["messages"]) for row in rows]
    rulings = dict(zip([row["id"] for row in rows], _rulings(asks, identity, params), strict=True))
    errors = {i: ruling.error for i, ruling in rulings.items() if ruling.error}
    values = {i: round(ruling.expected_score, 4) for i, ruling in rulings.items() if not ruling.error}
    log.info("%d answers graded by %s, %d verdicts failed", len(values), identity, len(errors))
    return Grades(values, errors, identity)


def ask_for(messages: Sequence[Mapping[str, str]]) -> Ask:
    """Return the question to the judge about the last of the messages."""
    prompt = load_prompt("single")
    asked = messages[-2]["content"] if len(messages) > 1 else ""
    return Ask(prompt, prompt.messages({"question": asked, "answer_a": messages[-1]["content"]}))


def reject_grades(grades: Mapping[str, float], params: GradeJudgeParams) -> dict[str, str]:
    """Return the reason by id of each row in the worst share whose grade is also below the limit."""
    if not grades:
        return {}
    low = worst(grades.values(), params.worst_share)
    return {i: "low_grade" for i, grade in grades.items() if grade <= low and grade < params.min_grade}


def _rulings(asks: Sequence[Ask], identity: str, params: GradeJudgeParams) -> list[Ruling]:
    """Return all rulings, from the cache alone where that suffices."""
    try:
        return _ruled(asks, None, LOCAL, identity, params)
    except NotKeptError:
        with endpoint(params.max_length) as (url, model):
            return _ruled(asks, url, model, identity, params)


def _ruled(asks: Sequence[Ask], url: str | None, model: str, identity: str, params: GradeJudgeParams) -> list[Ruling]:
    judge = make_judge(url, model, identity, params)
    return asyncio.run(judge.rule(asks, progress(len(set(asks)), judge)))
