"""Deployment over small stand-in services; the real Bento is in test_release_path.py."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stages import deploy
from stages.arms import engines, service
from thumbwheel.bundle import bundle_hash
from thumbwheel.engine import free_port
from thumbwheel.errors import PortInUseError, ReleaseError
from thumbwheel.lake import write_json
from thumbwheel.processes import lease, leased
from thumbwheel.release import Release, write_release
from thumbwheel.settings import settings

SERVICE = """
import json, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
port, name, text = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if text == "dies":
    sys.exit("no such weights")
subprocess.Popen(["sleep", "300"], start_new_session=True)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({"data": [{"id": name}]})
    def do_POST(self):
        self.answer({"model": name, "choices": [{"message": {"content": text}}]})
    def answer(self, value):
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(value).encode())
    def log_message(self, *_):
        pass
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def place(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root whose Bentos are small scripts, each told by its tag how to answer."""
    monkeypatch.setenv("THUMBWHEEL_CHAT_PORT", str(free_port()))
    monkeypatch.setenv("THUMBWHEEL_ENGINE_PORT", str(free_port()))
    settings.cache_clear()
    for module in (deploy, service, engines):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(deploy, "_start", start_script)
    yield workspace
    deploy.stop_service()


def start_script(release: Any) -> subprocess.Popen[bytes]:
    write_json(deploy.record_path(), {"release": release.model_dump()})
    answer = release.bento.partition(":")[2]
    deploy.log_path().parent.mkdir(parents=True, exist_ok=True)
    arguments = [str(settings().chat_port), service.model_name(release), answer]
    with deploy.log_path().open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", SERVICE, *arguments],
            env={**os.environ, **lease(deploy.PURPOSE)},
            start_new_session=True,
            stderr=log,
        )


def release(place: Path, version: int, answer: str = "fine") -> Release:
    folder = place / f"bundle{version}"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"version": version}))
    found = Release(
        version=version,
        bundle=bundle_hash(folder),
        bento=f"thumbwheel_chat:{answer}",
        bento_model="thumbwheel_bundle:0",
        path=folder.name,
        approved_by="a test",
    )
    write_release(found)
    return found


def served_model() -> str:
    return str(httpx.get(f"{deploy.base_url()}/v1/models", timeout=60).json()["data"][0]["id"])


def test_nothing_released_is_refused_with_the_way_to_mend_it(place: Path) -> None:
    with pytest.raises(ReleaseError, match="make run"):
        deploy.deploy()


def test_the_release_is_served_and_outlives_the_deployment(place: Path) -> None:
    release(place, 1)
    deploy.deploy()
    assert served_model() == "thumbwheel-chat/1"
    assert deploy.served() == release(place, 1).champion()


def test_a_release_that_is_served_already_is_left_alone(place: Path) -> None:
    release(place, 1)
    deploy.deploy()
    before = {process.pid for process in leased(deploy.PURPOSE)}
    deploy.deploy()
    assert {process.pid for process in leased(deploy.PURPOSE)} == before


def test_a_new_release_takes_the_place_of_the_old_one(place: Path) -> None:
    release(place, 1)
    deploy.deploy()
    old = {process.pid for process in leased(deploy.PURPOSE)}
    release(place, 2)
    deploy.deploy()
    assert served_model() == "thumbwheel-chat/2"
    assert old.isdisjoint(process.pid for process in leased(deploy.PURPOSE))


@pytest.mark.parametrize("answer", ["dies", " "])
def test_a_release_that_does_not_come_up_leaves_the_old_one_serving(place: Path, answer: str) -> None:
    first = release(place, 1)
    deploy.deploy()
    release(place, 2, answer)
    with pytest.raises(ReleaseError, match="Version 1 is served again"):
        deploy.deploy()
    assert served_model() == "thumbwheel-chat/1"
    assert deploy.served() == first.champion()


def test_a_first_release_that_does_not_come_up_leaves_nothing_and_shows_the_log(place: Path) -> None:
    release(place, 1, "dies")
    with pytest.raises(ReleaseError, match=r"no such weights.*Nothing is served now"):
        deploy.deploy()
    assert leased(deploy.PURPOSE) == []


def test_a_bundle_other_than_the_released_one_is_refused_before_anything_stops(place: Path) -> None:
    release(place, 1)
    deploy.deploy()
    release(place, 2)
    (place / "bundle2" / "config.json").write_text("{}")
    with pytest.raises(ReleaseError, match="only the judged bundle may be served"):
        deploy.deploy()
    assert served_model() == "thumbwheel-chat/1"


@pytest.mark.parametrize("variable", ["chat_port", "engine_port"])
def test_a_stranger_on_a_port_is_named(place: Path, variable: str) -> None:
    release(place, 1)
    with socket.create_server(("127.0.0.1", getattr(settings(), variable))):
        with pytest.raises(PortInUseError, match=str(getattr(settings(), variable))):
            deploy.deploy()
        assert leased(deploy.PURPOSE) == []


def test_stopping_leaves_no_process_behind_even_in_sessions_of_their_own(place: Path) -> None:
    release(place, 1)
    deploy.deploy()
    assert len(leased(deploy.PURPOSE)) == 2
    assert deploy.stop_service() >= 2
    assert leased(deploy.PURPOSE) == []
    assert not deploy.record_path().exists()


def test_orphans_of_a_killed_service_are_found_and_replaced(place: Path) -> None:
    release(place, 1)
    deploy.deploy()
    for process in leased(deploy.PURPOSE):
        if "sleep" not in process.cmdline():
            process.send_signal(signal.SIGKILL)
    deploy.deploy()
    assert served_model() == "thumbwheel-chat/1"
    assert len(leased(deploy.PURPOSE)) == 2


def test_a_service_started_by_a_deployment_that_was_killed_is_found_again(place: Path) -> None:
    start_script(release(place, 1).champion())
    deploy.deploy()
    assert served_model() == "thumbwheel-chat/1"
    assert len(leased(deploy.PURPOSE)) == 2
