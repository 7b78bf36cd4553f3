"""Requests that cannot be answered are refused by name, in OpenAI's error format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.openai_api import MAX_BODY
from tests.serving.conftest import Chat

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b"{", 400, "invalid_json", "not valid JSON"),
        (b"[]", 400, "invalid_json", "JSON object"),
        (b"\xff\xfe", 400, "invalid_json", "not valid JSON"),
        (b"[" * 100_000, 400, "invalid_json", "not valid JSON"),
        (b" " * (MAX_BODY + 1), 400, "request_too_large", "longer than"),
        ({}, 400, "invalid_value", "messages: must not be empty"),
        ({"messages": []}, 400, "invalid_value", "messages: must not be empty"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "invalid_value", "must not be empty"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "invalid_value", "unicode"),
        ({"messages": [{"role": "user", "content": "x" * 60_001}]}, 400, "invalid_value", "at most 60000"),
        ({"messages": [USER] * 201}, 400, "invalid_value", "at most 200"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_value", "messages.0.role"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "invalid_value", "last message"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "invalid_value", "last message"),
        ({"messages": [{"role": "system"}, USER]}, 400, "invalid_value", "must not be empty"),
        (
            {"messages": [USER, {"role": "assistant", "content": "x"}, {"role": "system", "content": "x"}]},
            400,
            "invalid_value",
            "last message",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "invalid_value", "type 'text'"),
        ({"messages": [USER], "temperatur": 1}, 400, "unknown_parameter", "temperatur"),
        ({"messages": [USER], "temperature": 3}, 400, "invalid_value", "temperature"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}', 400, "invalid_value", "temperature"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, 400, "invalid_value", "of a part"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "invalid_value", "of a part"),
        ({"messages": [USER], "stop": "\ud800"}, 400, "invalid_value", "unicode"),
        ({"messages": [USER], "metadata": {"\udfff": "x"}}, 400, "invalid_value", "unicode"),
        (b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', 400, "invalid_json", "not valid JSON"),
        ({"messages": [USER], "stop": ["a"] * 5}, 400, "invalid_value", "stop: must be at most 4"),
        ({"messages": [USER], "stop": ["a", ""]}, 400, "invalid_value", "stop: must be at most 4"),
        ({"messages": [USER], "logit_bias": {"5": 1}}, 400, "invalid_value", "logit_bias: is not offered"),
        ({"messages": [USER], "reasoning_effort": "low"}, 400, "invalid_value", "reasoning_effort: is not offered"),
        ({"messages": [USER], "n": 2}, 400, "invalid_value", "n:"),
        ({"messages": [USER], "logprobs": True}, 400, "invalid_value", "logprobs: is not offered"),
        ({"messages": [USER], "response_format": {"type": "xml"}}, 400, "invalid_value", "response_format.type"),
        ({"messages": [USER], "response_format": {"type": "json_schema"}}, 400, "invalid_value", "'json_schema' must"),
        (
            {
                "messages": [USER],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"title": "x" * 20_001}},
                },
            },
            400,
            "invalid_value",
            "more than 20,000 bytes",
        ),
        ({"messages": [USER], "max_tokens": 0}, 400, "invalid_value", "max_tokens"),
        ({"messages": [USER], "model": "other"}, 404, "model_not_found", "'other' does not exist"),
        ({"messages": [USER], "conversation_id": "c-0"}, 404, "conversation_not_found", "'c-0'"),
        ({"regenerate": "m-0"}, 404, "message_not_found", "'m-0'"),
    ],
)
def test_a_bad_request_is_refused_in_openais_format(
    chat: Chat, body: Any, status: int, code: str, message: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = chat.http.post(CHAT, content=content)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["type"]) == (status, code, "invalid_request_error")
    assert message in error["message"]
    assert chat.engine.payloads == []


def test_an_unknown_path_is_refused_in_openais_format(chat: Chat) -> None:
    response = chat.http.get("/v1/nothing")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert (
        "no GET /v1/nothing here; answers are given at POST /v1/chat/completions" in response.json()["error"]["message"]
    )
    assert chat.http.get(CHAT).json()["error"]["code"] == "method_not_allowed"


def test_what_is_nested_ever_more_deeply_is_taken_or_refused_and_breaks_nothing(chat: Chat) -> None:
    form = '{"type": "json_schema", "json_schema": {"name": "x", "schema": {"a": %s}}}'
    for depth in range(900, 1020, 5):
        body = json.dumps({"messages": [USER]})[:-1] + f', "response_format": {form % ("[" * depth + "]" * depth)}}}'
        assert chat.http.post(CHAT, content=body.encode()).status_code in (200, 400)
