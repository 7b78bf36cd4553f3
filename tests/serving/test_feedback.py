"""From a thumb over HTTP to a durable event."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from serving.guard.guard import Guard
from tests.serving.conftest import OPTIONS, Chat
from tests.serving.guard.test_reply import screened
from thumbwheel.errors import SourceError
from thumbwheel.records import FEEDBACK


def test_a_thumb_becomes_an_event_with_prompt_and_reply_byte_for_byte(chat: Chat) -> None:
    chat.engine.text = "  Two spaces,\ttab,\r\nnew line, emoji 🌱 "
    answer = chat.ask("  Why\u00a0so?  ").json()
    response = chat.rate(answer, rating="down", reason="wrong", consent=True)
    (event,) = chat.events()
    assert response.status_code == 201
    assert response.json()["event_id"] == event["event_id"]
    assert event["prompt"] == [{"role": "user", "content": "  Why\u00a0so?  "}]
    assert event["reply"] == "  Two spaces,\ttab,\r\nnew line, emoji 🌱 "
    assert set(event) == set(FEEDBACK.names)
    fields = ("kind", "rating", "reason", "correction", "replaces", "model", "arm", "consent")
    assert [event[f] for f in fields] == ["rating", "down", "wrong", None, None, "thumbwheel-chat/3", "control", True]


def test_what_is_sent_twice_with_one_key_is_one_event(chat: Chat) -> None:
    answer, other = chat.ask().json(), chat.ask().json()
    once = {"headers": {"Idempotency-Key": "k-1"}}
    ids = {name: answer[name] for name in ("conversation_id", "message_id")}
    first, again = (chat.http.post("/v1/feedback", json={**ids, "rating": "down"}, **once) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    elsewhere = {name: other[name] for name in ids}
    chat.http.post("/v1/feedback", json={**elsewhere, "rating": "up"}, **once)
    chat.rate(answer, rating="down")
    assert [event["rating"] for event in chat.events()] == ["down", "up", "down"]


def test_something_else_with_the_same_key_is_not_lost(chat: Chat) -> None:
    answer, once = chat.ask().json(), {"headers": {"Idempotency-Key": "k-1"}}
    ids = {name: answer[name] for name in ("conversation_id", "message_id")}
    for more in ({"rating": "down"}, {"correction": "Better."}, {"rating": "down"}):
        assert chat.http.post("/v1/feedback", json={**ids, **more}, **once).status_code == 201
    assert [(event["rating"], event["correction"]) for event in chat.events()] == [("down", None), (None, "Better.")]


def test_consent_is_never_assumed(chat: Chat) -> None:
    chat.rate(chat.ask().json(), rating="up")
    assert chat.events()[0]["consent"] is False


def test_a_correction_is_an_edit(chat: Chat) -> None:
    chat.rate(chat.ask().json(), correction="Better. ")
    assert [(e["kind"], e["rating"], e["correction"]) for e in chat.events()] == [("edit", None, "Better. ")]


def test_a_second_try_has_the_same_prompt_more_heat_and_remembers_what_it_replaces(chat: Chat) -> None:
    first = chat.ask("Hi").json()
    second = chat.http.post("/v1/chat/completions", json={"regenerate": first["message_id"]}).json()
    payloads = chat.engine.payloads
    assert payloads[0]["messages"] == payloads[1]["messages"]
    assert [p["temperature"] for p in payloads] == [0.2, 0.9]
    assert second["conversation_id"] == first["conversation_id"]
    chat.rate(second, rating="up", replaces=first["message_id"])
    (event,) = chat.events()
    assert (event["kind"], event["replaces"]) == ("regeneration", first["message_id"])


def test_a_disliked_second_try_is_a_plain_rating(chat: Chat) -> None:
    first = chat.ask("Hi").json()
    second = chat.http.post("/v1/chat/completions", json={"regenerate": first["message_id"]}).json()
    chat.rate(second, rating="down")
    assert [e["kind"] for e in chat.events()] == ["rating"]


def test_marked_words_reach_the_event_as_characters_of_the_reply(chat: Chat) -> None:
    chat.engine.text = "🌱 The moon is green."
    span = {"start": 2, "end": 10, "label": "wrong"}
    assert chat.rate(chat.ask().json(), spans=[span]).status_code == 201
    (event,) = chat.events()
    assert event["spans"] == [span]
    assert event["reply"][2:10] == "The moon"
    assert (event["kind"], event["rating"]) == ("rating", None)


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({}, 400, "invalid_value"),
        ({"rating": "sideways"}, 400, "invalid_value"),
        ({"rating": 5}, 400, "invalid_value"),
        ({"rating": "up", "consent": "maybe"}, 400, "invalid_value"),
        ({"rating": "up", "stars": 5}, 400, "unknown_parameter"),
        ({"rating": "up", "reply": "forged"}, 400, "unknown_parameter"),
        ({"spans": []}, 400, "invalid_value"),
        ({"spans": [{"start": 0, "end": 15, "label": "wrong"}]}, 400, "invalid_value"),
        ({"spans": [{"start": 3, "end": 3, "label": "toxic"}]}, 400, "invalid_value"),
        ({"spans": [{"start": 0, "end": 2, "label": "dull"}]}, 400, "invalid_value"),
        ({"correction": "  "}, 400, "invalid_value"),
        ({"correction": "Echo 1: Hello?"}, 400, "invalid_value"),
        ({"reason": "x" * 501}, 400, "invalid_value"),
        ({"rating": "up", "replaces": "m-1"}, 400, "invalid_value"),
        ({"rating": "up", "message_id": "m-1"}, 404, "message_not_found"),
        ({"rating": "up", "conversation_id": "c-1"}, 404, "message_not_found"),
    ],
)
def test_bad_feedback_is_refused_and_makes_no_event(chat: Chat, more: dict[str, Any], status: int, code: str) -> None:
    response = chat.rate(chat.ask().json(), **more)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert chat.events() == []


def test_a_user_is_a_keyed_hash_of_the_session_and_never_the_raw_id(chat: Chat) -> None:
    for user in ("alice@example.org", "alice@example.org", "bob@example.org"):
        answer = chat.ask(user=user).json()
        chat.rate(answer, rating="up", user=user)
    answer = chat.ask().json()
    chat.rate(answer, rating="up")
    users = [e["user"] for e in chat.events()]
    assert users[0] == users[1]
    assert len(set(users)) == 3
    assert "example.org" not in json.dumps(chat.events()[0] | {"prompt": []})


def test_the_id_of_an_answer_names_its_message_too(chat: Chat) -> None:
    first = chat.ask("One").json()
    second = chat.http.post("/v1/chat/completions", json={"regenerate": first["id"]}).json()
    thumb = chat.rate({**second, "message_id": second["id"]}, rating="up", replaces=first["id"])
    assert thumb.status_code == 201
    (event,) = chat.events()
    assert (event["message_id"], event["replaces"]) == (second["message_id"], first["message_id"])


def test_the_session_cookie_is_out_of_reach_of_scripts(chat: Chat) -> None:
    cookie = chat.ask().headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Set-Cookie" not in chat.ask().headers


def test_a_session_that_a_client_made_up_is_no_session(chat: Chat) -> None:
    said = [{"role": "user", "content": "My name is Ana."}]
    chat.http.cookies.clear()
    for _ in range(2):
        answer = chat.http.post(
            "/v1/chat/completions", json={"messages": said}, headers={"Cookie": "thumbwheel_session=ana"}
        )
        assert "thumbwheel_session=" in answer.headers["Set-Cookie"]
        chat.http.cookies.clear()
    profile = chat.http.get("/v1/profile", headers={"Cookie": "thumbwheel_session=ana"}).json()
    assert profile["name"] is None


def test_an_outbox_that_cannot_be_written_is_a_503(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(event: dict[str, Any]) -> None:
        raise SourceError("the disk is full")

    answer = chat.ask().json()
    monkeypatch.setattr(chat.outbox, "append", full)
    response = chat.rate(answer, rating="up")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "feedback_unavailable")


TEXT = strategies.text(min_size=1, max_size=60).filter(
    lambda s: s.strip() and not any(0xD800 <= ord(c) < 0xE000 for c in s)
)


GUARD = Guard(OPTIONS.guard)


def passes(text: str) -> bool:
    """Tell whether the guardrails leave a text as it is, asked and answered."""
    asked = [{"role": "user", "content": text}]
    judged = GUARD.judged(asked)
    said, _, _ = asyncio.run(screened(GUARD, text, 3))
    return judged.verdict is None and judged.messages == asked and said == text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=TEXT.filter(passes), reply=TEXT.filter(passes))
def test_any_text_that_the_guardrails_let_pass_reaches_the_event_unchanged(chat: Chat, prompt: str, reply: str) -> None:
    chat.engine.text = reply
    answer = chat.ask(prompt).json()
    chat.rate(answer, rating="up")
    event = chat.events()[-1]
    assert answer["choices"][0]["message"]["content"] == event["reply"] == reply
    assert event["prompt"] == [{"role": "user", "content": prompt}]
