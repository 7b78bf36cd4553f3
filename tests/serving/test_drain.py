"""A service that is stopped: what it writes is written, and nobody new is let in."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from serving import drain
from serving.drain import CLOSED_SECONDS, Doors
from serving.openai_api import ApiError
from stages import deploy
from stages.arms import engines, service
from tests.fakes import served
from tests.serving.conftest import Chat
from tests.waiting import eventually
from thumbwheel.arms import Arm, Routing
from thumbwheel.engine import free_port
from thumbwheel.processes import lease, leased
from thumbwheel.settings import REPOSITORY, settings

ASKED = json.dumps({"drain": True}).encode()
SERVICE = """
import sys, threading
from pathlib import Path
from serving.app import create_app
from serving.history import SqliteHistory
from tests.fakes import FakeEngine, fake_engine, served
from tests.serving.conftest import OPTIONS, parts_of
from thumbwheel.outbox import Outbox
folder, port = Path(sys.argv[1]), int(sys.argv[2])
engine = FakeEngine()
engine.text, engine.delay = "A long answer. " * 20, 0.02
with fake_engine(engine):
    outbox, history = Outbox(folder / "outbox.db"), SqliteHistory(folder / "history.db")
    with served(create_app(lambda: parts_of(history, engine.url, outbox, OPTIONS, folder)), port):
        threading.Event().wait()
"""
"""A whole service with its engine, which TERM ends at once."""


def drained(chat: Chat, body: bytes = ASKED, key: bytes = b"key") -> httpx.Response:
    proof = hmac.new(key, body, hashlib.sha256).hexdigest()
    return chat.http.post("/v1/drain", content=body, headers={"X-Operator-Proof": proof})


def test_a_stream_ends_whole_while_nobody_new_is_let_in(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "CLOSED_SECONDS", 3600.0)
    chat.engine.is_held, lines = True, []

    def read() -> None:
        body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
        with httpx.stream("POST", f"{chat.url}/v1/chat/completions", json=body, timeout=60) as response:
            lines.extend(response.iter_lines())

    reader = threading.Thread(target=read)
    reader.start()
    assert eventually(lambda: chat.engine.payloads)
    assert drained(chat).json() == {"object": "drain", "answering": 1, "seconds": 240.0}
    refused = chat.ask()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
    assert "Retry-After" in refused.headers
    assert (chat.http.get("/readyz").status_code, chat.http.get("/healthz").status_code) == (503, 200)
    chat.engine.is_held = False
    reader.join(60)
    assert "data: [DONE]" in lines
    assert eventually(lambda: drained(chat).json()["answering"] == 0)


def test_an_address_that_ends_in_a_line_is_one_of_answers(chat: Chat) -> None:
    response = chat.http.post("/v1/chat/completions%0A", json={"messages": [{"role": "user", "content": "Hi"}]})
    assert (response.status_code, len(chat.engine.payloads)) == (200, 1)


@pytest.mark.parametrize(("body", "key"), [(ASKED, b"guessed"), (json.dumps({"users": []}).encode(), b"key")])
def test_nobody_but_the_operator_who_means_it_closes_the_doors(chat: Chat, body: bytes, key: bytes) -> None:
    assert drained(chat, body, key).status_code == 403
    assert chat.ask().status_code == 200


def test_doors_that_nobody_keeps_closed_open_again() -> None:
    now = [0.0]
    doors = Doors(lambda: now[0])
    doors.enter()
    doors.close()
    with pytest.raises(ApiError, match="stopped or renewed"):
        doors.enter()
    now[0] = CLOSED_SECONDS
    doors.enter()


def test_a_service_that_is_stopped_ends_the_stream_that_it_writes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBWHEEL_CHAT_PORT", str(free_port()))
    settings.cache_clear()
    settings().user_key_path.parent.mkdir(parents=True, exist_ok=True)
    settings().user_key_path.write_bytes(b"key")
    start(workspace)
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with httpx.stream("POST", f"{service.base_url()}/v1/chat/completions", json=body, timeout=60) as response:
        lines = response.iter_lines()
        next(lines)
        stopper = threading.Thread(target=deploy.stop_service)
        stopper.start()
        rest = list(lines)
    stopper.join(60)
    assert "data: [DONE]" in rest
    assert leased(deploy.PURPOSE) == []


def test_a_drain_gives_up_when_the_answers_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    told: Any = {"object": "drain", "answering": 2, "seconds": 0.01}
    monkeypatch.setattr(service, "_drained", lambda: told)
    monkeypatch.setattr(service, "POLL_SECONDS", 0.02)
    assert service.drain() == 2


def test_an_engine_that_leaves_the_routing_ends_its_answers_first(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = iter([2, 1, 0])
    text = 'vllm:num_requests_running{engine="0"} %d\nvllm:num_requests_waiting 9\n'
    app = Starlette(routes=[Route("/metrics", lambda _: PlainTextResponse(text % next(running)))])
    own, other = (Arm(version=n, bundle="b" * 64, bento=f"b:{n}", engine=None) for n in (1, 2))
    with served(app) as url:
        monkeypatch.setenv("THUMBWHEEL_ENGINE_PORT", url.rpartition(":")[2])
        settings.cache_clear()
        monkeypatch.setattr(engines, "POLL_SECONDS", 0.01)
        engines.retire(Routing(champion=own), Routing(champion=other.model_copy(update={"engine": "http://b"})))
    assert [*running] == []


def start(folder: Path) -> None:
    command = [sys.executable, "-c", SERVICE, str(folder), str(settings().chat_port)]
    environment = {**os.environ, **lease(deploy.PURPOSE)}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True)
    assert eventually(lambda: process.poll() is not None or answers()), "the service did not come up"


def answers() -> bool:
    try:
        return httpx.get(f"{service.base_url()}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
