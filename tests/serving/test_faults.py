"""What a client reads, and what is kept, where the engine, a store or the client itself goes away."""

from __future__ import annotations

import http.client
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.app import create_app
from serving.history import SqliteHistory
from tests.fakes import served
from tests.serving.conftest import OPTIONS, Chat, parts_of
from tests.serving.test_app import CHAT, stream, text_of
from tests.waiting import eventually
from thumbwheel.engine import free_port
from thumbwheel.outbox import Outbox

USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_beyond_the_window_is_a_400(chat: Chat, streamed: bool) -> None:
    chat.engine.status = 400
    response = chat.ask(stream=streamed)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("streamed", [False, True])
def test_an_engine_that_fails_is_a_503(chat: Chat, streamed: bool) -> None:
    chat.engine.status = 500
    response = chat.ask(stream=streamed)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "engine_unavailable")
    assert response.json()["error"]["type"] == "server_error"


def test_an_engine_that_dies_breaks_a_whole_answer_with_a_503(chat: Chat) -> None:
    chat.engine.dies_after = 2
    assert chat.ask().status_code == 503


def test_an_engine_that_dies_mid_stream_ends_the_stream_with_an_error_event(chat: Chat) -> None:
    chat.engine.dies_after = 2
    events, last = stream(chat)
    assert text_of(events[:-1]) == "Echo 1"
    assert events[-1]["error"]["code"] == "engine_unavailable"
    assert "[DONE]" not in last
    assert "finish_reason': 'stop" not in str(events)


def test_what_the_user_saw_before_the_engine_died_is_kept(chat: Chat) -> None:
    chat.engine.dies_after = 2
    events, _ = stream(chat)
    kept = chat.http.get(f"/v1/conversations/{events[0]['conversation_id']}").json()["replies"]
    assert [(r["reply"], r["finish"]) for r in kept] == [("Echo 1", "error")]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_hangs_up_cancels_the_engine(chat: Chat, streamed: bool) -> None:
    chat.engine.delay, chat.engine.text = 0.1, "word " * 600
    body = {"messages": [USER], "stream": streamed}

    parts = httpx.URL(chat.url)
    connection = http.client.HTTPConnection(parts.host, parts.port)
    connection.request("POST", CHAT, json.dumps(body), {"Content-Type": "application/json"})
    assert eventually(lambda: chat.engine.payloads)
    connection.close()
    assert eventually(lambda: chat.engine.cancelled == 1)


def test_an_engine_that_is_not_there_is_a_503_and_not_ready(tmp_path: Path) -> None:
    history, outbox = SqliteHistory(tmp_path / "h.db"), Outbox(tmp_path / "o.db")
    gone = f"http://127.0.0.1:{free_port()}"
    with served(create_app(lambda: parts_of(history, gone, outbox, OPTIONS, tmp_path))) as url:
        assert httpx.post(f"{url}{CHAT}", json={"messages": [USER]}, timeout=60).status_code == 503
        assert httpx.get(f"{url}/readyz", timeout=60).status_code == 503
        assert httpx.get(f"{url}/healthz", timeout=60).status_code == 200


def test_what_broke_on_our_side_is_counted_and_told_in_openais_format(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    answer = chat.ask().json()
    monkeypatch.setattr(SqliteHistory, "find", broken)
    response = chat.rate(answer, rating="up")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")
    assert response.headers["Retry-After"] == "5"
    assert 'thumbwheel_requests_total{route="/v1/feedback",status="503"}' in chat.http.get("/metrics").text
