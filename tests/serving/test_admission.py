"""The queue, the deadline and the breaker, over HTTP with a fake engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from serving.admission import Admission, within
from serving.openai_api import ApiError
from serving.options import AdmissionOptions
from tests.serving.conftest import Chat, chatting, options_with
from tests.waiting import eventually

NARROW = AdmissionOptions(answers=1, waiting=1, wait_seconds=60, answer_seconds=60, retry_seconds=7)


def in_background(chat: Chat, content: str, got: list[httpx.Response]) -> threading.Thread:
    def ask() -> None:
        body = {"messages": [{"role": "user", "content": content}]}
        got.append(httpx.post(f"{chat.url}/v1/chat/completions", json=body, timeout=60))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_one_more_than_the_queue_holds_is_told_at_once_to_come_back(tmp_path: Path) -> None:
    with chatting(tmp_path, options_with(admission=NARROW.model_dump())) as chat:
        chat.engine.is_held, got = True, []
        first = in_background(chat, "Hello?", got)
        assert eventually(lambda: chat.engine.payloads)
        second = in_background(chat, "Hi", got)
        assert eventually(lambda: "thumbwheel_waiting 1.0" in chat.http.get("/metrics").text)
        refused = chat.ask()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "server_overloaded")
        assert refused.headers["Retry-After"] == "7"
        chat.engine.is_held = False
        first.join(60)
        second.join(60)
        assert [response.status_code for response in got] == [200, 200]
        assert len(chat.engine.payloads) == 2


def test_whoever_waits_too_long_is_told_to_come_back(tmp_path: Path) -> None:
    brief = {**NARROW.model_dump(), "wait_seconds": 0.2}
    with chatting(tmp_path, options_with(admission=brief)) as chat:
        chat.engine.is_held, got = True, []
        first = in_background(chat, "Hello?", got)
        assert eventually(lambda: chat.engine.payloads)
        assert chat.ask().json()["error"]["code"] == "server_overloaded"
        chat.engine.is_held = False
        first.join(60)
        assert got[0].status_code == 200


def test_a_place_is_free_again_however_its_holder_ended() -> None:
    async def run() -> None:
        admission = Admission(NARROW)
        with pytest.raises(ZeroDivisionError):
            async with admission.place():
                raise ZeroDivisionError
        holder = asyncio.ensure_future(hold(admission))
        await asyncio.sleep(0)
        waiter = asyncio.ensure_future(hold(admission))
        await asyncio.sleep(0)
        for task in (waiter, holder):
            task.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        async with asyncio.timeout(30), admission.place():
            pass

    async def hold(admission: Admission) -> None:
        async with admission.place():
            await asyncio.sleep(60)

    asyncio.run(run())


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_past_its_deadline_is_ended_and_the_engine_stops(tmp_path: Path, streamed: bool) -> None:
    with chatting(tmp_path, options_with(admission={"wait_seconds": 1.0, "answer_seconds": 1.0})) as chat:
        chat.engine.delay, chat.engine.text = 0.2, "Hi. " * 600
        response = chat.ask(stream=streamed)
        assert "deadline_exceeded" in response.text
        assert response.status_code == (200 if streamed else 504)
        assert eventually(lambda: chat.engine.cancelled == 1)


def test_a_source_is_closed_when_its_reader_leaves() -> None:
    closed: list[bool] = []

    async def source() -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append(True)

    async def run() -> None:
        reader = within(source(), 60)
        assert await anext(reader) == 0
        await reader.aclose()

    asyncio.run(run())
    assert closed == [True]


def test_a_deadline_that_has_passed_is_an_error_not_an_end() -> None:
    async def slow() -> AsyncGenerator[int, None]:
        yield 0
        await asyncio.sleep(60)
        yield 1

    async def run() -> list[int]:
        return [item async for item in within(slow(), 0.05)]

    with pytest.raises(ApiError, match="longer than") as error:
        asyncio.run(run())
    assert error.value.status == 504


def test_an_engine_that_keeps_failing_is_left_alone(tmp_path: Path) -> None:
    with chatting(tmp_path, options_with(breaker={"failures": 2, "rest_seconds": 600.0})) as chat:
        chat.engine.status = 500
        answers = [chat.ask() for _ in range(4)]
        assert [answer.status_code for answer in answers] == [503] * 4
        assert len(chat.engine.payloads) == 2
        assert 500 < int(answers[3].headers["Retry-After"]) <= 600


def test_an_engine_that_is_well_again_is_found_out(tmp_path: Path) -> None:
    with chatting(tmp_path, options_with(breaker={"failures": 1, "rest_seconds": 0.05})) as chat:
        chat.engine.status = 500
        assert chat.ask().status_code == 503
        chat.engine.status = 200
        assert eventually(lambda: chat.ask().status_code == 200)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_schema_at_which_a_healthy_engine_fails_says_nothing_of_its_health(tmp_path: Path, streamed: bool) -> None:
    schema = {"name": "x", "schema": {"$ref": "#"}}
    form = {"type": "json_schema", "json_schema": schema}
    with chatting(tmp_path, options_with(breaker={"failures": 1, "rest_seconds": 600.0})) as chat:
        chat.engine.status, chat.engine.reports = (200, {"message": "?", "code": 500}) if streamed else (500, None)
        refused = chat.ask(stream=streamed, response_format=form)
        assert (refused.status_code, "schema" in refused.json()["error"]["message"]) == (503, True)
        chat.engine.status, chat.engine.reports = 200, None
        assert chat.ask().status_code == 200


def test_what_an_engine_finds_wrong_with_a_request_once_it_streams_is_a_400_and_no_failure(tmp_path: Path) -> None:
    with chatting(tmp_path, options_with(breaker={"failures": 1, "rest_seconds": 600.0})) as chat:
        chat.engine.reports = {"message": "Grammar error: properties must be an object", "code": 400}
        refused = chat.ask(stream=True)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")
        assert "Grammar error" in refused.json()["error"]["message"]
        chat.engine.reports = None
        assert chat.ask(stream=True).status_code == 200


def test_a_request_that_the_engine_refuses_says_nothing_of_its_health(tmp_path: Path) -> None:
    with chatting(tmp_path, options_with(breaker={"failures": 1, "rest_seconds": 600.0})) as chat:
        chat.engine.status = 400
        assert chat.ask().status_code == 400
        chat.engine.status = 200
        assert chat.ask().status_code == 200
