"""Keep what is worth learning from: heuristics on every row, a small language model's scores on a sample of them.

    python -m stages.grade

A judge's grades join in where `grade.judge` asks for them. Every rejection carries a named reason, and a page with the
best, the worst and the rejected rows lets a person check the taste: `data/reports/grade.html`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from stages.quality import taste
from stages.quality.grades import GradeJudgeParams, Grades, judge_rows, reject_grades
from stages.quality.heuristics import Fault, HeuristicParams, faults
from stages.quality.likelihood import Score, ScoreParams, draw, reject_scores, score
from thumbwheel import tracking
from thumbwheel.command import run
from thumbwheel.folding import normalise
from thumbwheel.lake import Pin, read_pinned, write_pin, write_table
from thumbwheel.params import Params, load_params
from thumbwheel.records import CONVERSATION, PREFERENCE, to_table
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

Row = Mapping[str, Any]


class GradeParams(Params):
    """`shown` is how many of the best and of the worst rows the page shows."""

    seed: int = Field(ge=0)
    shown: int = Field(ge=0)
    heuristics: HeuristicParams
    scores: ScoreParams
    judge: GradeJudgeParams


def main() -> None:
    params = load_params("grade", GradeParams)
    conversations = read_pinned("scrub", "conversations").to_pylist()
    preferences = read_pinned("scrub", "preferences").to_pylist()
    with tracking.stage_run("grade", params) as stage:
        found = conversation_faults(conversations, params.heuristics)
        candidates = [row for row in conversations if row["id"] not in found]
        scores = score_drawn(candidates, params)
        grades = judge_rows(draw(candidates, params.judge.max_judged, params.seed), params.judge)
        rejected = {i: fault.reason for i, fault in found.items()}
        rejected |= reject_grades(grades.values, params.judge) | reject_scores(scores, params.scores)
        rejected_pairs = preference_faults(preferences, params.heuristics)
        pin = write(conversations, preferences, scores, grades, rejected, rejected_pairs)
        by_id, known = {row["id"]: row for row in conversations}, {one.id: one for one in scores}
        page = taste.Graded(by_id, known, grades.values, rejected, found)
        stage.artifact(taste.write_page(page, pin, params.shown))
        stage.metrics({"kept": pin.tables["conversations"].rows, **pin.facts})
        stage.metrics({f"rejected_{reason}": n for reason, n in pin.rejections.items()})
    log.info("grade: kept %d of %d; %s", pin.tables["conversations"].rows, len(conversations), pin.rejections)
    write_pin(pin)


def score_drawn(rows: Sequence[dict[str, Any]], params: GradeParams) -> list[Score]:
    """Return the model's scores of a sample of the rows."""
    drawn = draw(rows, params.scores.max_scored, params.seed)
    return score(drawn, settings().models / "base", params.scores, settings().state_dir / "scores.db")


def conversation_faults(rows: Iterable[Row], params: HeuristicParams) -> dict[str, Fault]:
    """Return the first fault, by id, of every conversation with an answer that a limit rules out."""
    answers = [(row["id"], m["content"]) for row in rows for m in row["messages"] if m["role"] == "assistant"]
    found: dict[str, Fault] = {}
    for (row_id, _), fault in zip(answers, faults([text for _, text in answers], params), strict=True):
        if fault:
            found.setdefault(row_id, fault)
    return found


def preference_faults(rows: Sequence[Row], params: HeuristicParams) -> dict[str, str]:
    """Return the reason, by id, of every pair that teaches nothing, or whose chosen answer a limit rules out."""
    chosen = faults([row["chosen"] for row in rows], params)
    reasons = [pair_fault(row) or (fault.reason if fault else None) for row, fault in zip(rows, chosen, strict=True)]
    return {row["id"]: reason for row, reason in zip(rows, reasons, strict=True) if reason}


def pair_fault(row: Row) -> str | None:
    """Return why a pair cannot be used, whatever its answers say."""
    if not row["prompt"] or row["prompt"][-1]["role"] != "user":
        return "no_question"
    if not row["chosen"].strip() or not row["rejected"].strip():
        return "empty"
    return "same_answers" if normalise(row["chosen"]) == normalise(row["rejected"]) else None


def write(
    conversations: Sequence[dict[str, Any]],
    preferences: Sequence[dict[str, Any]],
    scores: Sequence[Score],
    grades: Grades,
    rejected: Mapping[str, str],
    rejected_pairs: Mapping[str, str],
) -> Pin:
    """Write the five tables and return the pin over them."""
    reasons = [{"id": i, "reason": r, "kind": "conversation"} for i, r in sorted(rejected.items())]
    reasons += [{"id": i, "reason": r, "kind": "preference"} for i, r in sorted(rejected_pairs.items())]
    kept = [row for row in conversations if row["id"] not in rejected]
    kept_pairs = [row for row in preferences if row["id"] not in rejected_pairs]
    graded = [{"id": i, "grade": grade, "judge": grades.judge} for i, grade in sorted(grades.values.items())]
    graded += [{"id": i, "error": error, "judge": grades.judge} for i, error in sorted(grades.errors.items())]
    score_schema, grade_schema, reason_schema = schemas()
    tables = {
        "conversations": to_table(kept, CONVERSATION),
        "preferences": to_table(kept_pairs, PREFERENCE),
        "scores": to_table([vars(one) for one in scores], score_schema),
        "grades": to_table(graded, grade_schema),
        "rejected": to_table(reasons, reason_schema),
    }
    return Pin(
        stage="grade",
        tables={name: write_table(f"grade_{name}", table) for name, table in tables.items()},
        rejections=dict(sorted(Counter(one["reason"] for one in reasons).items())),
        facts={"scored": len(scores), "graded": len(grades.values), "grade_errors": len(grades.errors)},
    )


def schemas() -> tuple[Any, Any, Any]:
    """Return the schemas of the tables of scores, grades and rejections."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return (
        pa.schema([("id", text), ("likelihood", number), ("difficulty", number), ("tokens", pa.int64())]),
        pa.schema([("id", text), ("grade", number), ("error", text), ("judge", text)]),
        pa.schema([("id", text), ("reason", text), ("kind", text)]),
    )


if __name__ == "__main__":
    run(main)
