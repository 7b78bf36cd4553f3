"""Answering: which questions are asked, what a model is told, and what becomes of a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stages import answer
from stages.answer import AnswerParams, SetParams, answer_both, answer_question, champion_folder, choose, prompts
from thumbwheel.errors import EngineError, SourceError

PARAMS = AnswerParams(
    sets={"mt_bench": SetParams(max_questions=3, max_tokens=20), "questions": SetParams(max_questions=2, max_tokens=9)},
    seed=1,
    max_length=512,
    max_context_characters=60,
    concurrency=2,
    timeout_seconds=60,
)


def question(name: str, number: int, *turns: str, context: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"set": name, "id": f"{name}-{number}", "turns": list(turns or ["Hi?"]), "context": list(context)}


def echo(request: httpx.Request) -> httpx.Response:
    """Answer with how many messages were seen and the last one."""
    body = json.loads(request.content)
    text = f"{len(body['messages'])}: {body['messages'][-1]['content']}"
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return httpx.Response(200, json={"choices": [choice], "usage": {"completion_tokens": 3}})


async def ask(asked: dict[str, Any], handler: Any = echo) -> dict[str, Any]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler), base_url="http://engine/v1") as client:
        return await answer_question(client, asked, PARAMS)


def test_a_sample_is_fixed_and_a_longer_one_holds_it() -> None:
    questions = [question("mt_bench", i) for i in range(20)] + [question("questions", i) for i in range(5)]
    few = {q["id"] for q in choose(questions, PARAMS)}
    more = PARAMS.model_copy(update={"sets": {**PARAMS.sets, "mt_bench": SetParams(max_questions=9, max_tokens=20)}})
    assert len(few) == 5
    assert few == {q["id"] for q in choose(questions[::-1], PARAMS)}
    assert few < {q["id"] for q in choose(questions, more)}


def test_a_set_without_questions_is_refused_by_name() -> None:
    with pytest.raises(SourceError, match=r"'questions', which has no questions; there are: mt_bench"):
        choose([question("mt_bench", 1)], PARAMS)


async def test_the_second_turn_is_asked_after_the_models_own_first_reply() -> None:
    row = await ask(question("mt_bench", 1, "One?", "Two?"))
    assert row["replies"] == ["1: One?", "3: Two?"]
    assert row["tokens"] == 6
    assert row["error"] is None


def test_a_question_with_documents_is_asked_over_them_up_to_the_limit() -> None:
    (text,) = prompts(question("questions", 1, "How much?", context=("A" * 50, "B" * 50)), 60)
    assert "\n\n[1] " + "A" * 50 + "\n\n[2] \n\nQuestion: How much?" in text
    assert "B" * 9 not in text


async def test_a_failed_turn_keeps_what_was_said_and_is_recorded_as_an_error() -> None:
    def second_fails(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, text="too long") if b"Two?" in request.content else echo(request)

    row = await ask(question("mt_bench", 1, "One?", "Two?"), second_fails)
    assert row["replies"] == ["1: One?"]
    assert row["error"] == "ValueError: status 400: too long"


async def test_an_engine_that_went_away_ends_the_stage() -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(EngineError, match="went away"):
        await ask(question("mt_bench", 1), gone)


def test_equal_bundles_answer_once(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    started: list[Path] = []

    @contextmanager
    def engine(folder: Path, *rest: Any) -> Iterator[str]:
        started.append(folder)
        yield "http://engine/v1"

    async def replies(url: str, questions: Any, side: str, bundle: str, params: Any) -> list[dict[str, Any]]:
        return [{"side": side, "bundle": bundle, "replies": ["x"]}]

    monkeypatch.setattr(answer, "running_engine", engine)
    monkeypatch.setattr(answer, "answer_all", replies)
    folders = {"candidate": Path("a"), "champion": Path("b")}
    rows, _ = answer_both([], folders, {"candidate": "same", "champion": "same"}, PARAMS)
    assert started == [Path("a")]
    assert [row["side"] for row in rows] == ["candidate", "champion"]
    answer_both([], folders, {"candidate": "one", "champion": "other"}, PARAMS)
    assert started[1:] == [Path("a"), Path("b")]


def test_the_champions_folder_is_read_from_its_file(workspace: Path) -> None:
    path = workspace / "data/inputs/champion.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"version": null, "bundle": "x", "path": "models/base"}')
    assert champion_folder() == workspace / "models/base"
    path.write_text("{")
    with pytest.raises(SourceError, match=r"stages\.challenge"):
        champion_folder()
    path.unlink()
    with pytest.raises(SourceError, match=r"stages\.challenge"):
        champion_folder()
