"""Answers of the chat API over HTTP, with a fake engine behind it."""

from __future__ import annotations

import json
import re
import textwrap
import threading
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests.serving.conftest import Chat
from thumbwheel.settings import REPOSITORY

CHAT = "/v1/chat/completions"


def stream(chat: Chat, content: str = "Hello?", **more: Any) -> tuple[list[dict[str, Any]], str]:
    """Return the events of a stream and its last line."""
    lines = [line for line in chat.ask(content, stream=True, **more).text.split("\n\n") if line]
    return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"], lines[-1]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(c["delta"].get("content", "") for e in events for c in e.get("choices", []))


def test_an_answer_has_openais_shape_and_our_ids(chat: Chat) -> None:
    response = chat.ask("Grüße, 水!")
    answer = response.json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Echo 1: Grüße, 水!", "refusal": None}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13}
    assert answer["model"] == "thumbwheel-chat/3"
    assert response.headers["X-Conversation-Id"] == answer["conversation_id"]
    assert response.headers["X-Message-Id"] == answer["message_id"]


def test_a_streamed_answer_is_the_same_text_and_ends_with_done(chat: Chat) -> None:
    chat.engine.text = "The light\n\nblinks  white — 水."
    whole = chat.ask().json()["choices"][0]["message"]["content"]
    events, last = stream(chat, stream_options={"include_usage": True})
    assert chat.ask(stream=True).headers["X-Accel-Buffering"] == "no"  # or nginx holds it until it is whole
    assert text_of(events) == whole == chat.engine.text
    assert last == "data: [DONE]"
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["usage"]["completion_tokens"] == 10


def test_openais_own_client_works(chat: Chat) -> None:
    from openai import NotFoundError, OpenAI

    client = OpenAI(base_url=f"{chat.url}/v1", api_key="none", max_retries=0)
    model = client.models.list().data[0].id
    messages: Any = [{"role": "user", "content": "Hi"}]
    whole = client.chat.completions.create(model=model, messages=messages)
    pieces = client.chat.completions.create(model=model, messages=messages, stream=True)
    assert whole.choices[0].message.content == "Echo 1: Hi"
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "Echo 2: Hi"
    assert [one.id for one in client.models.list()] == [model, "thumbwheel-chat"]
    assert [client.models.retrieve(name).id for name in (model, "thumbwheel-chat")] == [model, "thumbwheel-chat"]
    for call in (
        lambda: client.chat.completions.create(model="gpt-9", messages=messages),
        lambda: client.models.retrieve("gpt-9"),
    ):
        with pytest.raises(NotFoundError, match="does not exist, or answers no more; GET /v1/models lists"):
            call()


def test_what_the_readme_shows_of_openais_client_works(chat: Chat) -> None:
    shown = re.search(r"```python\n(  from openai .*?)  ```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    exec(textwrap.dedent(shown[1]).replace("http://127.0.0.1:3000", chat.url), {})
    assert [message["content"] for message in chat.engine.payloads[-1]["messages"]][1:] == [
        *("What is the Hub?", "Echo 1: What is the Hub?", "Why?")
    ]
    assert [(event["rating"], event["reply"], event["consent"]) for event in chat.events()] == [
        ("up", "Echo 2: Why?", True)
    ]


def test_openais_client_gets_an_answer_in_the_form_that_it_names(chat: Chat) -> None:
    from openai import OpenAI

    schema = {"type": "object", "properties": {"colour": {"type": ["string", "null"], "default": None}}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "light", "schema": schema, "strict": True}}
    chat.engine.text = '{"colour": "white"}'
    client = OpenAI(base_url=f"{chat.url}/v1", api_key="none", max_retries=0)
    messages: Any = [{"role": "developer", "content": "Be short."}, {"role": "user", "content": "Which?"}]
    answer = client.chat.completions.create(model="thumbwheel-chat", messages=messages, response_format=form)
    assert json.loads(answer.choices[0].message.content or "") == {"colour": "white"}
    assert chat.engine.payloads[0]["response_format"] == form
    assert chat.engine.payloads[0]["messages"][0] == {"role": "system", "content": "You are Wick.\n\nBe short."}


def test_fields_that_change_nothing_are_taken_and_do_not_reach_the_engine(chat: Chat) -> None:
    more: Any = {
        "response_format": {"type": "text"},
        "logprobs": False,
        "top_logprobs": None,
        "stream": None,
        "service_tier": "auto",
        "modalities": ["text"],
        "metadata": {"a": "b"},
        "store": True,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "logit_bias": {},
        **dict.fromkeys(("audio", "functions", "function_call", "prediction", "reasoning_effort", "verbosity")),
    }
    assert chat.ask(**more).status_code == 200
    _, last = stream(chat, stream_options={"include_usage": True, "include_obfuscation": False})
    assert last == "data: [DONE]"
    assert chat.engine.payloads[0].keys() == {"model", "messages", "temperature", "max_tokens", "stream"}


def test_the_persona_stands_first_and_is_not_shown(chat: Chat) -> None:
    messages = [{"role": "system", "content": "Answer in French."}, {"role": "user", "content": "Hi"}]
    answer = chat.http.post(CHAT, json={"messages": messages}).json()
    sent = chat.engine.payloads[0]["messages"]
    assert sent[0] == {"role": "system", "content": "You are Wick.\n\nAnswer in French."}
    kept = chat.http.get(f"/v1/conversations/{answer['conversation_id']}").json()
    assert kept["replies"][0]["prompt"] == [{"role": "user", "content": "Hi"}]
    assert "Wick" not in json.dumps(kept)


def test_a_system_text_may_be_empty_and_may_stand_last(chat: Chat) -> None:
    said = {"role": "user", "content": "Hi"}
    for system in ({"role": "system", "content": ""}, {"role": "developer", "content": "Be brief."}):
        for messages in ([system, said], [said, system]):
            assert chat.http.post(CHAT, json={"messages": messages}).status_code == 200
    sent = [[message["content"] for message in payload["messages"]] for payload in chat.engine.payloads]
    assert sent == [["You are Wick.", "Hi"]] * 2 + [["You are Wick.\n\nBe brief.", "Hi"]] * 2


def test_a_conversation_keeps_its_replies_in_order(chat: Chat) -> None:
    first = chat.ask("One").json()
    chat.ask("Two", conversation_id=first["conversation_id"])
    kept = chat.http.get(f"/v1/conversations/{first['conversation_id']}").json()["replies"]
    assert [(r["reply"], r["model"], r["finish"]) for r in kept] == [
        ("Echo 1: One", "thumbwheel-chat/3", "stop"),
        ("Echo 2: Two", "thumbwheel-chat/3", "stop"),
    ]


def test_an_answer_that_says_nothing_can_be_sent_back(chat: Chat) -> None:
    chat.engine.text = "\u200b"
    answer = chat.ask("One").json()["choices"][0]["message"]
    assert answer["content"] == ""
    messages = [{"role": "user", "content": "One"}, answer, {"role": "user", "content": "Two"}]
    assert chat.http.post(CHAT, json={"messages": messages}).status_code == 200
    assert [m["content"] for m in chat.engine.payloads[1]["messages"][1:]] == ["One", "", "Two"]


def test_text_parts_are_joined(chat: Chat) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    chat.http.post(CHAT, json={"messages": [{"role": "user", "content": parts}]})
    assert chat.engine.payloads[0]["messages"][-1]["content"] == "Hello"


def test_an_answer_is_never_longer_than_the_release_allows(chat: Chat) -> None:
    chat.ask(max_tokens=10_000)
    chat.ask(max_completion_tokens=5)
    assert [p["max_tokens"] for p in chat.engine.payloads] == [64, 5]


def test_metrics_count_requests_tokens_first_tokens_and_thumbs(chat: Chat) -> None:
    chat.rate(chat.ask().json(), rating="up")
    chat.ask(stream=True)
    text = chat.http.get("/metrics").text
    for line in (
        'thumbwheel_requests_total{route="/v1/chat/completions",status="200"}',
        'thumbwheel_tokens_total{arm="control",kind="reply",model="thumbwheel-chat/3"}',
        'thumbwheel_first_token_seconds_count{arm="control",model="thumbwheel-chat/3"}',
        'thumbwheel_feedback_total{arm="control",kind="rating",model="thumbwheel-chat/3",rating="up"}',
    ):
        assert line in text


def test_metrics_tell_of_pace_length_circles_and_how_an_answer_rests_on_its_documents(chat: Chat) -> None:
    def count(name: str, more: str = "_count") -> float:
        labels = {"model": "thumbwheel-chat/3", "arm": "control", **({"le": "0.5"} if more == "_bucket" else {})}
        return REGISTRY.get_sample_value(f"thumbwheel_{name}{more}", labels) or 0.0

    names = ("token_seconds", "reply_tokens", "repetition", "groundedness")
    before, straight = [count(name) for name in names], count("repetition", "_bucket")
    chat.engine.text, chat.engine.delay = "So it goes on and on, " * 20, 0.001
    stream(chat)
    chat.ask()
    chat.engine.dies_after, chat.engine.delay = 2, 0.0
    stream(chat)
    assert [count(name) - was for name, was in zip(names, before, strict=True)] == [1, 2, 2, 0]
    assert count("repetition", "_bucket") == straight


def test_the_page_and_its_parts_come_from_the_service_alone(chat: Chat) -> None:
    page = chat.http.get("/")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.text.replace("http-equiv", "")
    for name in ("chat.css", "chat.js", "api.js", "access.js", "feedback.js", "markdown.js", "icon.svg"):
        assert chat.http.get(f"/{name}").status_code == 200


@pytest.mark.parametrize("path", ["/", "/chat.js", "/review", "/healthz", "/readyz"])
def test_a_monitor_may_ask_by_head(chat: Chat, path: str) -> None:
    asked = chat.http.head(path)

    assert (asked.status_code, asked.content) == (200, b"")


def test_twenty_streams_at_once_all_end_well(chat: Chat) -> None:
    ends: list[str] = []
    threads = [threading.Thread(target=lambda: ends.append(stream(chat)[1])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert ends == ["data: [DONE]"] * 20
