"""Questions, answers and judges with known verdicts, for tests of the judge stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import judge as stage
from tests.fakes import FakeJudge
from thumbwheel.lake import Pin, read_pinned, write_pin, write_table
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
    "timeout_seconds": 60,
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
