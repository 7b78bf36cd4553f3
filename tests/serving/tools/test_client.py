"""Tools by OpenAI's own client: its loop of calls and results, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.serving.conftest import Chat
from tests.serving.tools.conftest import CLOCK, USER, WEATHER

WANTED: Any = {"model": "thumbwheel-chat", "tools": [WEATHER, CLOCK]}


@pytest.fixture
def client(tools_chat: Chat) -> OpenAI:
    tools_chat.engine.calls = [("weather", '{"city": "Paris"}'), ("clock", "{}")]
    return OpenAI(base_url=f"{tools_chat.url}/v1", api_key="none", max_retries=0)


def told(calls: Any) -> list[tuple[str, str, str]]:
    return [(call.id, call.function.name, call.function.arguments) for call in calls]


CALLS = [("call_0", "weather", '{"city": "Paris"}'), ("call_1", "clock", "{}")]


def test_a_whole_answer_holds_the_calls_and_null_content(client: OpenAI) -> None:
    answer = client.chat.completions.create(messages=[USER], **WANTED)  # type: ignore[list-item]
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert told(choice.message.tool_calls) == CALLS
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (7, 7 + answer.usage.completion_tokens)


def test_the_clients_streaming_helper_gets_whole_calls_and_usage(client: OpenAI) -> None:
    options: Any = {"include_usage": True}
    with client.chat.completions.stream(messages=[USER], stream_options=options, **WANTED) as stream:  # type: ignore[list-item]
        done = [event.name for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert done == ["weather", "clock"]
    assert told(final.choices[0].message.tool_calls) == CALLS
    assert (final.choices[0].finish_reason, final.usage and final.usage.prompt_tokens) == ("tool_calls", 7)


def test_raw_deltas_bear_index_and_id_once_and_arguments_behind_them(client: OpenAI) -> None:
    events = [*client.chat.completions.create(messages=[USER], stream=True, **WANTED)]  # type: ignore[list-item]
    deltas = [call for event in events for call in event.choices[0].delta.tool_calls or []]
    assert events[0].choices[0].delta.role == "assistant"
    assert [(d.index, d.id, d.type) for d in deltas if d.id] == [(0, "call_0", "function"), (1, "call_1", "function")]
    assert "".join(d.function.arguments or "" for d in deltas if d.function and d.index == 0) == '{"city": "Paris"}'
    assert events[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("is_dumped", [False, True])
def test_an_answer_may_be_sent_back_as_the_client_gives_it_with_the_results(
    client: OpenAI, tools_chat: Chat, is_dumped: bool
) -> None:
    first = client.chat.completions.create(messages=[USER], **WANTED).choices[0].message  # type: ignore[list-item]
    back: Any = first.model_dump() if is_dumped else first
    tools_chat.engine.calls, tools_chat.engine.text = [], "It is 18 degrees."
    results = [{"role": "tool", "tool_call_id": call.id, "content": "18"} for call in first.tool_calls or []]
    second = client.chat.completions.create(messages=[USER, back, *results], **WANTED)  # type: ignore[list-item]
    assert (second.choices[0].message.content, second.choices[0].finish_reason) == ("It is 18 degrees.", "stop")
    sent = tools_chat.engine.payloads[-1]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert sent[2]["tool_calls"] == [call.model_dump() for call in first.tool_calls or []]
    assert [message["tool_call_id"] for message in sent[3:]] == ["call_0", "call_1"]


def test_what_the_streaming_helper_gives_may_be_sent_back_too(client: OpenAI, tools_chat: Chat) -> None:
    with client.chat.completions.stream(messages=[USER], **WANTED) as stream:  # type: ignore[list-item]
        message: Any = stream.get_final_completion().choices[0].message
    results: Any = [{"role": "tool", "tool_call_id": f"call_{n}", "content": "18"} for n in range(2)]
    tools_chat.engine.calls = []
    client.chat.completions.create(messages=[USER, message, *results], **WANTED)  # type: ignore[list-item]
    assert json.loads(tools_chat.engine.payloads[-1]["messages"][2]["tool_calls"][0]["function"]["arguments"])


def test_a_result_without_a_call_is_the_clients_bad_request(client: OpenAI) -> None:
    stray: Any = [USER, {"role": "tool", "tool_call_id": "call_9", "content": "18"}]
    with pytest.raises(BadRequestError, match="'call_9' is no call") as caught:
        client.chat.completions.create(messages=stray, **WANTED)
    assert caught.value.param == "messages.1.tool_call_id"
