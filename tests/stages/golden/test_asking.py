"""How golden questions are asked: turn by turn, patiently, and a question that fails is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from stages.golden.asking import TRIES, Question, ask, question_of

TWO_TURNS = Question("golden", "g1", ("Hi?", "And how much?"), 16, {"must_contain": ["24"], "must_not_contain": ["34"]})
ANSWER = {"choices": [{"message": {"content": "It costs 24 euros."}, "finish_reason": "stop"}]}


async def asked(question: Question, handle: Callable[[httpx.Request], httpx.Response]) -> Any:
    async with httpx.AsyncClient(transport=httpx.MockTransport(handle), base_url="http://chat") as client:
        return await ask(client, question, 3)


def answered(**more: Any) -> httpx.Response:
    return httpx.Response(200, json={**ANSWER, **more})


async def test_each_turn_follows_on_what_was_answered_before() -> None:
    bodies: list[dict[str, Any]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return answered(citations=[{"source": "b.md"}, {"source": "a.md"}, {"source": "b.md"}])

    reply = await asked(TWO_TURNS, handle)
    roles = [[message["role"] for message in body["messages"]] for body in bodies]
    assert roles == [["user"], ["user", "assistant", "user"]]
    assert {(body["temperature"], body["seed"], body["max_tokens"]) for body in bodies} == {(0, 3, 16)}
    assert (reply.text, reply.finish, reply.sources) == ("It costs 24 euros.", "stop", ("a.md", "b.md"))
    assert reply.is_right is True


async def test_a_service_that_is_busy_is_asked_again_when_it_says() -> None:
    left = [httpx.Response(429, headers={"Retry-After": "0"}), httpx.Response(503, headers={"Retry-After": "0"})]
    reply = await asked(TWO_TURNS, lambda _: left.pop() if left else answered())
    assert reply is not None


async def test_a_service_that_stays_busy_or_refuses_gives_no_answer() -> None:
    calls = []

    def busy(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(429, headers={"Retry-After": "0"})

    assert await asked(TWO_TURNS, busy) is None
    assert len(calls) == TRIES
    assert await asked(TWO_TURNS, lambda _: httpx.Response(400, json={})) is None
    assert await asked(TWO_TURNS, lambda _: httpx.Response(200, text="no JSON")) is None


async def test_only_a_golden_question_demands_something() -> None:
    row = {"set": "benign", "kind": "benign", "id": "b1", "turns": ["Hi?"], "label": None}
    question = question_of(row, 8)
    assert question.demands is None
    assert (await asked(question, lambda _: answered())).is_right is None
