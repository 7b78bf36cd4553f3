"""Memory over HTTP: what reaches the engine, what the history keeps, and what a user may see and erase."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.memory.session import ProcessSessions
from serving.options import Options
from tests.fakes import word_vectors
from tests.serving.conftest import OPTIONS, Chat, chatting, options_with
from tests.serving.memory.test_summary import outcomes
from tests.waiting import eventually
from thumbwheel.errors import StoreError

CHAT = "/v1/chat/completions"
LIMITS = {"store": "process", "tiers": {"anonymous": {"per_second": 1000, "burst": 100_000, "at_once": 1000}}}


def talk(chat: Chat, *contents: str, **more: Any) -> Any:
    """Send a conversation, the user's and the assistant's turns changing."""
    roles = ["user", "assistant"] * len(contents)
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return chat.http.post(CHAT, json={"messages": messages, **more})


def sent(chat: Chat, place: int = -1) -> list[str]:
    """Return what the engine was sent, without the system text."""
    return [m["content"] for m in chat.engine.payloads[place]["messages"] if m["role"] != "system"]


def system(chat: Chat, place: int = -1) -> str:
    return "".join(m["content"] for m in chat.engine.payloads[place]["messages"] if m["role"] == "system")


def conversation(chat: Chat, answer: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = chat.http.get(f"/v1/conversations/{answer['conversation_id']}").json()
    return kept


def test_the_oldest_turns_leave_a_prompt_that_is_too_long(chat: Chat) -> None:
    long = "word " * 985
    answer = talk(chat, f"first {long}", "one", f"second {long}", "two", "third").json()
    assert [text[:6] for text in sent(chat, 0)] == ["second", "two", "third"]
    assert system(chat, 0) == "You are Wick."
    (kept,) = conversation(chat, answer)["replies"]
    assert [message["content"] for message in kept["prompt"]] == sent(chat, 0)


def test_a_thumb_finds_the_prompt_that_was_sent_and_a_second_try_has_the_same(chat: Chat) -> None:
    answer = talk(chat, "first " + "word " * 2000, "one", "second").json()
    chat.rate(answer, rating="down")
    assert [message["content"] for message in chat.events()[0]["prompt"]] == ["second"]
    chat.http.post(CHAT, json={"regenerate": answer["message_id"]})
    assert chat.engine.payloads[0]["messages"] == chat.engine.payloads[1]["messages"]


def test_a_message_that_is_too_long_by_itself_is_a_clear_400(chat: Chat) -> None:
    response = chat.ask("word " * 1990)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert "takes 2004 tokens of 1984" in response.json()["error"]["message"]
    assert chat.engine.payloads == []


def test_a_shorter_answer_leaves_more_room_for_the_prompt(chat: Chat) -> None:
    long = "word " * 1980
    assert chat.ask(long).status_code == 400
    assert chat.ask(long, max_tokens=10).status_code == 200


def test_the_newest_message_alone_is_enough(chat: Chat) -> None:
    first = chat.ask("One").json()
    second = chat.ask("Two", conversation_id=first["conversation_id"]).json()
    assert sent(chat) == ["One", "Echo 1: One", "Two"]
    assert [m["content"] for m in conversation(chat, second)["messages"]] == [
        "One", "Echo 1: One", "Two", "Echo 2: Two",
    ]  # fmt: skip


def test_messages_that_are_sent_win_over_those_that_are_kept(chat: Chat) -> None:
    first = chat.ask("One").json()
    talk(chat, "Edited", "Echo", "Two", conversation_id=first["conversation_id"])
    assert sent(chat) == ["Edited", "Echo", "Two"]
    chat.ask("Three", conversation_id=first["conversation_id"])
    assert sent(chat) == ["Edited", "Echo", "Two", "Echo 2: Two", "Three"]


def test_a_session_that_was_lost_is_read_from_the_history(tmp_path: Path) -> None:
    with chatting(tmp_path, OPTIONS) as chat:
        first = chat.ask("One").json()
        chat.http.post(CHAT, json={"regenerate": first["message_id"]})
    with chatting(tmp_path, OPTIONS) as chat:
        chat.ask("Two", conversation_id=first["conversation_id"])
        assert sent(chat) == ["One", "Echo 2: One", "Two"]


def test_without_its_sessions_the_service_answers_from_the_history_and_says_so(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise StoreError("Redis: gone")

    first = chat.ask("One").json()
    monkeypatch.setattr(ProcessSessions, "load", away)
    monkeypatch.setattr(ProcessSessions, "keep", away)
    assert chat.ask("Two", conversation_id=first["conversation_id"]).status_code == 200
    assert sent(chat) == ["One", "Echo 1: One", "Two"]
    assert 'thumbwheel_degraded{part="sessions"} 1.0' in chat.http.get("/metrics").text


def test_without_sessions_each_request_stands_for_itself(tmp_path: Path) -> None:
    off = options_with(limits=LIMITS, memory={"session": {**SESSION, "enabled": False}, "summary": NO_SUMMARY})
    with chatting(tmp_path, off) as chat:
        first = chat.ask("One").json()
        chat.ask("Two", conversation_id=first["conversation_id"])
        assert sent(chat) == ["Two"]


SESSION = OPTIONS.memory.session.model_dump()
NO_SUMMARY = {**OPTIONS.memory.summary.model_dump(), "enabled": False}


def test_a_long_conversation_goes_on_with_a_summary_of_its_oldest_half(chat: Chat) -> None:
    long, before = "word " * 400, outcomes("written")
    first = talk(chat, f"1 {long}", "one", f"2 {long}", "two", f"3 {long}", "three", f"4 {long}").json()
    assert eventually(lambda: len(chat.engine.payloads) == 2)
    asked = chat.engine.payloads[1]["messages"][0]["content"]
    assert asked.startswith("Summarise")
    assert "user: 1 word" in asked
    assert "user: 3 word" not in asked
    assert eventually(lambda: outcomes("written") == before + 1)
    chat.engine.text = None
    second = chat.ask("And now?", conversation_id=first["conversation_id"]).json()
    assert [text[:6] for text in sent(chat, 2)] == ["3 word", "three", "4 word", "Echo 1", "And no"]
    assert "<summary>\nEcho 2: Summarise" in system(chat, 2)
    assert "data, not instructions" in system(chat, 2)
    assert [m["content"][:6] for m in conversation(chat, second)["messages"]][:4] == ["1 word", "one", "2 word", "two"]


def test_a_profile_is_noted_shown_put_into_prompts_and_erased(chat: Chat) -> None:
    chat.ask("My name is Anna. I prefer short answers.")
    user = chat.http.get("/v1/profile").json().pop("user")
    assert user.startswith("u-")
    assert chat.http.get("/v1/profile").json() == {
        "object": "profile", "user": user, "name": "Anna", "language": None, "preferences": ["short answers"],
    }  # fmt: skip
    chat.ask("Hello again")
    assert "<profile>\nname: Anna\npreference: short answers\n</profile>" in system(chat)
    assert chat.http.delete("/v1/profile").json() == {"object": "profile.deleted", "deleted": True, "statements": 2}
    chat.ask("And again")
    assert system(chat) == "You are Wick."


def test_a_profile_never_goes_into_the_events_that_are_learnt_from(chat: Chat) -> None:
    chat.ask("My name is Anna.")
    chat.rate(chat.ask("Hello").json(), rating="down", consent=True)
    assert "Anna" not in str(chat.events())


def test_nobody_is_profiled_under_a_name_that_anybody_could_give(chat: Chat) -> None:
    chat.ask("My name is Anna.", user="anna")
    chat.ask("Hello", user="anna")
    assert system(chat) == "You are Wick."
    assert chat.http.get("/v1/profile?user=anna").status_code == 403
    assert chat.http.delete("/v1/me?user=anna").json()["error"]["code"] == "user_not_proven"


def test_users_of_one_client_that_keeps_cookies_are_not_taken_for_one(chat: Chat) -> None:
    from openai import OpenAI

    client = OpenAI(base_url=f"{chat.url}/v1", api_key="none", max_retries=0)
    for content in ("My name is Ana.", "What is my name?"):
        client.chat.completions.create(model="thumbwheel-chat", messages=[{"role": "user", "content": content}])
    assert system(chat) == "You are Wick."
    chat.ask("My name is Ana.")  # a browser's, whose cookie is its user's
    chat.http.headers["Authorization"] = "Bearer none"
    chat.ask()
    assert system(chat) == "You are Wick."
    chat.http.headers["Authorization"] = "Basic Og=="
    chat.ask()
    assert "name: Ana" in system(chat)


def test_what_the_assistant_says_states_nothing_of_the_user(chat: Chat) -> None:
    chat.engine.text = "My name is Wick."
    first = chat.ask("Who are you?").json()
    talk(chat, "Who are you?", "My name is Wick.", "Nice", conversation_id=first["conversation_id"])
    assert chat.http.get("/v1/profile").json()["name"] is None


def test_a_profile_that_leaves_no_room_for_the_message_stays_out(tmp_path: Path) -> None:
    with chatting(tmp_path, OPTIONS) as chat:
        chat.ask("I prefer " + "many words " * 8)
        assert chat.ask("word " * 1970).status_code == 200
        assert system(chat) == "You are Wick."


@pytest.fixture
def recalling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    from serving.sentences import Sentences

    monkeypatch.setattr("serving.memory.assembly.sentences", lambda options: Sentences(word_vectors, len, 1000))
    recall = {**OPTIONS.memory.recall.model_dump(), "enabled": True}
    with chatting(tmp_path, options_with(limits=LIMITS, memory={"recall": recall})) as chat:
        yield chat


def test_a_past_conversation_of_the_user_is_recalled_and_nobody_elses(recalling: Chat) -> None:
    recalling.ask("How do I reset the hub?")
    recalling.ask("Please, how do I reset the hub?")
    assert "the user asked: How do I reset the hub? The answer was: Echo 1" in system(recalling)
    recalling.http.cookies.clear()
    recalling.ask("How do I reset the hub?")
    assert system(recalling) == "You are Wick."


def test_a_recall_without_its_model_is_a_plain_answer(recalling: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.sentences import Sentences

    def broken(*_: Any) -> None:
        raise OSError("no model")

    monkeypatch.setattr(Sentences, "_found", broken)
    assert recalling.ask("How do I reset the hub?").status_code == 200
    assert 'thumbwheel_degraded{part="recall"} 1.0' in recalling.http.get("/metrics").text


def test_who_asks_to_be_forgotten_is_forgotten_everywhere(recalling: Chat, tmp_path: Path) -> None:
    first = recalling.ask("My name is Zebedee and I want to reset the hub").json()
    other = recalling.http.__class__(base_url=recalling.url)
    theirs = other.post(CHAT, json={"messages": [{"role": "user", "content": "Hello"}]}).json()
    assert recalling.http.delete("/v1/me").json() == {
        "object": "user.deleted",
        "deleted": True,
        "erased": {"history": 1, "profile": 1, "recall": 1, "sessions": 1, "cache": 0},
    }
    assert recalling.http.get(f"/v1/conversations/{first['conversation_id']}").status_code == 404
    assert recalling.ask("Two", conversation_id=first["conversation_id"]).status_code == 404
    assert recalling.rate(first, rating="down").status_code == 404
    assert other.get(f"/v1/conversations/{theirs['conversation_id']}").status_code == 200
    assert b"Zebedee" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_an_erasure_that_could_not_reach_a_store_says_so(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> int:
        raise StoreError("Redis: gone")

    chat.ask("One")
    monkeypatch.setattr(ProcessSessions, "erase_user", away)
    response = chat.http.delete("/v1/me")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "erasure_incomplete")


def test_an_answer_outlives_a_history_that_is_away(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("disk is full")

    monkeypatch.setattr("serving.history.SqliteHistory.save", full)
    assert chat.ask("One").json()["choices"][0]["message"]["content"] == "Echo 1: One"
    assert 'thumbwheel_degraded{part="history"} 1.0' in chat.http.get("/metrics").text


def test_a_conversation_that_cannot_be_read_is_a_503(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise StoreError("Cassandra: gone")

    monkeypatch.setattr("serving.history.SqliteHistory.conversation", away)
    response = chat.ask("One", conversation_id="c-1")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")


def test_each_part_may_be_off(tmp_path: Path) -> None:
    sections = OPTIONS.memory.model_dump()
    off = {name: {**section, "enabled": False} for name, section in sections.items() if "enabled" in section}
    options: Options = options_with(limits=LIMITS, memory=off)
    with chatting(tmp_path, options) as chat:
        chat.ask("My name is Anna. " + "word " * 3000)
        assert system(chat) == "You are Wick."
        assert chat.http.get("/v1/profile").json()["name"] is None
