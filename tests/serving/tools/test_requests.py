"""What requests may say of tools, and where they go from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import Chat, chatting
from tests.serving.models.conftest import models
from tests.serving.models.conftest import state as state  # the fixture of a state folder
from tests.serving.tools.conftest import CHAT, CLOCK, SCHEMA, USER, WEATHER, calling, post, result, tool, tooling

NAMED = tool("weather")
ON = tooling().model_dump()["models"]["engine"]


@pytest.mark.parametrize("choice", ["none", "auto", "required", NAMED])
def test_tools_and_choices_reach_the_engine_as_they_are(tools_chat: Chat, choice: Any) -> None:
    post(tools_chat, [USER], tools=[WEATHER, CLOCK], tool_choice=choice, parallel_tool_calls=False)
    sent = tools_chat.engine.payloads[0]
    assert (sent["tools"], sent["tool_choice"], sent["parallel_tool_calls"]) == ([WEATHER, CLOCK], choice, False)


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_of_tools_of_which_some_are_allowed_those_alone_reach_the_engine(tools_chat: Chat, mode: str) -> None:
    allowed = {"mode": mode, "tools": [NAMED]}
    post(tools_chat, [USER], tools=[CLOCK, WEATHER], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    sent = tools_chat.engine.payloads[0]
    assert (sent["tools"], sent["tool_choice"]) == ([WEATHER], mode)


def test_a_plain_request_says_nothing_of_tools_to_the_engine(tools_chat: Chat) -> None:
    tools_chat.ask()
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(tools_chat.engine.payloads[0])


def some(mode: str, tools: list[Any]) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    """One chat for all requests that are refused: nothing of them stays."""
    with chatting(tmp_path_factory.mktemp("refusing"), tooling()) as chat:
        yield chat


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"tools": []}, "tools"),
        ({"tools": [CLOCK] * 129}, "at most 128"),
        ({"tools": [CLOCK, CLOCK]}, "two tools are named 'clock'"),
        ({"tools": [tool("not a name")]}, "tools.0.function.name"),
        ({"tools": [tool("x" * 65)]}, "tools.0.function.name"),
        ({"tools": [{"type": "retrieval"}]}, "tools.0.type"),
        ({"tools": [{**CLOCK, "strict": True}]}, "unrecognized request argument: tools.0.strict"),
        ({"tools": [tool("a", parameters=[])]}, "parameters"),
        (
            {"tools": [tool("a", parameters={"type": "array"})]},
            "type 'object'",
        ),
        (
            {"tools": [tool("a", parameters={**SCHEMA, "required": 1})]},
            "names",
        ),
        ({"tools": [tool("a", description="x" * 60_001)]}, "more than 60,000"),
        ({"tool_choice": "auto"}, "only allowed when 'tools' are specified"),
        ({"parallel_tool_calls": True}, "only allowed when 'tools' are specified"),
        ({"tools": [CLOCK], "tool_choice": "maybe"}, "must be one of none, auto, required"),
        ({"tools": [CLOCK], "tool_choice": {"type": "function"}}, "must be one of none, auto, required"),
        ({"tools": [CLOCK], "tool_choice": NAMED}, "'weather' is none of the tools: clock"),
        ({"tools": [CLOCK], "tool_choice": {"type": "allowed_tools"}}, "tool_choice: must be"),
        ({"tools": [CLOCK], "tool_choice": some("none", [CLOCK])}, "tool_choice: must be"),
        ({"tools": [CLOCK], "tool_choice": some("auto", [])}, "tool_choice: must be"),
        ({"tools": [CLOCK], "tool_choice": some("auto", ["clock"])}, "must be one of none, auto, required"),
        ({"tools": [CLOCK], "tool_choice": some("auto", [NAMED])}, "'weather' is none of the tools: clock"),
        ({"messages": [USER, result("a")]}, "'a' is no call"),
        ({"messages": [USER, calling("a"), result("a"), result("a")]}, "'a' is answered twice"),
        ({"messages": [USER, calling("a", "b"), result("a")]}, "unanswered: b"),
        ({"messages": [USER, calling("a"), USER]}, "unanswered: a"),
        ({"messages": [USER, calling("a", "a"), result("a")]}, "same id"),
        ({"messages": [USER, calling("a", arguments="{"), result("a")]}, "must be JSON"),
        ({"messages": [USER, calling("a", arguments='{"a": "\\ud800"}'), result("a")]}, "must be JSON"),
        ({"messages": [{"role": "user", "content": None}]}, "content must not be empty"),
        ({"messages": [{"role": "assistant", "content": None}, USER]}, "content must not be empty"),
        ({"messages": [{**USER, "tool_call_id": "a"}]}, "'tool_call_id' must stand in messages with role 'tool'"),
        ({"messages": [{"role": "tool", "content": "18"}]}, "'tool_call_id' must stand"),
        ({"messages": [{**calling("a"), "role": "user"}]}, "cannot hold 'tool_calls'"),
        ({"messages": [result("a")]}, "'a' is no call"),
    ],
)
def test_what_is_wrong_with_tools_is_a_400_that_says_so(refusing: Chat, body: dict[str, Any], message: str) -> None:
    response = refusing.http.post(CHAT, json={"messages": [USER], **body})
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert message in error["message"]
    assert error["param"]
    assert refusing.engine.payloads == []


@pytest.mark.parametrize(
    "body", [{"tools": [CLOCK]}, {"messages": [USER, calling("a"), result("a")]}, {"tools": [CLOCK], "stream": True}]
)
def test_an_engine_without_tools_is_a_400_that_says_what_to_set(chat: Chat, body: dict[str, Any]) -> None:
    response = chat.http.post(CHAT, json={"messages": [USER], **body})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "tools_not_supported", "tools")
    assert "models.engine.tools" in error["message"]
    assert chat.engine.payloads == []


def test_tools_go_to_a_fallback_that_takes_them_where_the_release_does_not(tmp_path: Path, state: Path) -> None:
    with models(tmp_path, {"deaf": {"takes": ["failure"], "tools": False}, "able": ["failure"]}) as served:
        served.beside["able"].calls = [("clock", "{}")]
        answer = post(served.chat, [USER], tools=[CLOCK]).json()
        assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "clock"
        assert answer["model"] == "elsewhere/able/able-model"
        assert (served.primary.payloads, served.beside["deaf"].payloads) == ([], [])
        assert served.beside["able"].payloads[0]["tools"] == [CLOCK]


@pytest.mark.parametrize("streamed", [False, True])
def test_calls_come_from_a_fallback_when_the_release_fails(tmp_path: Path, state: Path, streamed: bool) -> None:
    with models(tmp_path, {"able": ["failure"]}, engine=ON) as served:
        served.primary.status, served.beside["able"].calls = 500, [("clock", "{}")]
        assert "call_0" in post(served.chat, [USER], tools=[CLOCK], stream=streamed).text


class NoMeanings:
    """A sentence model that finds every question too long to look up."""

    async def vector_of_whole(self, text: str) -> None:
        return None


def test_the_semantic_cache_is_never_asked_about_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.cache.semantic.sentences", lambda _: NoMeanings())
    with chatting(tmp_path, tooling(cache={"enabled": True})) as chat:
        assert "X-Cache" not in post(chat, [USER], tools=[CLOCK], temperature=0).headers
        assert "X-Cache" not in post(chat, [USER, calling("a"), result("a")], temperature=0).headers
        assert "X-Cache" in post(chat, [USER], temperature=0).headers


def test_an_engine_that_says_stop_behind_its_calls_is_told_as_tool_calls(tools_chat: Chat) -> None:
    tools_chat.engine.calls, tools_chat.engine.call_finish = [("clock", "{}")], "stop"
    tools_chat.engine.text = "Let me see. "
    choice = post(tools_chat, [USER], tools=[CLOCK], tool_choice=CLOCK).json()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "Let me see. ")


@pytest.mark.parametrize("arguments", ['"Paris"', "[1]", "null", ""])
def test_arguments_that_are_no_object_may_come_back_as_the_model_wrote_them(tools_chat: Chat, arguments: str) -> None:
    assert post(tools_chat, [USER, calling("a", arguments=arguments), result("a")]).status_code == 200
    sent = tools_chat.engine.payloads[0]["messages"][2]["tool_calls"][0]["function"]
    assert sent["arguments"] == (arguments or "{}")
