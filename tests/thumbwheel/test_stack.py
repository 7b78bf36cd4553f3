"""The local stack, as far as it can be seen without starting it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from thumbwheel import processes, scheduler, stack
from thumbwheel.errors import PortInUseError, TurnError
from thumbwheel.settings import settings


@pytest.fixture
def taken(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port of the stack's on which a stranger listens."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = int(stranger.getsockname()[1])
        monkeypatch.setenv("THUMBWHEEL_AIRFLOW_PORT", str(port))
        settings.cache_clear()
        yield port


def test_a_port_in_use_is_named_and_nothing_is_started(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("something was started"))
    with pytest.raises(PortInUseError, match=f"port {taken} on 127.0.0.1 is in use"):
        stack.up()


def test_the_stack_does_not_come_up_during_a_turn(workspace: Path) -> None:
    with (
        processes.only_one(settings().state_dir / "turn.lock", "a turn of the wheel"),
        pytest.raises(TurnError, match="already running"),
    ):
        stack.up()


def test_down_stops_the_stack_and_may_be_repeated(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = subprocess.Popen(["sleep", "60"], env={**os.environ, **processes.lease(stack.PURPOSE)})
    commands: list[list[str]] = []
    monkeypatch.setattr(stack.subprocess, "run", lambda command, **_: commands.append(command))
    assert stack.is_up()
    stack.down()
    stack.down()
    assert part.poll() is not None
    assert not stack.is_up()
    assert [command[1:] for command in commands] == [["-m", "stages.deploy", "--stop"]] * 2
    assert capsys.readouterr().out.splitlines()[1] == "stopped 0 processes of the stack"


@pytest.mark.parametrize(("scheduler_", "healthy"), [("healthy", True), ("unhealthy", False), (None, True)])
def test_airflow_is_up_only_when_each_of_its_parts_is(scheduler_: str | None, healthy: bool) -> None:
    parts = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": scheduler_}}
    assert stack._healthy(httpx.Response(200, json=parts)) == healthy


def test_the_secret_of_tokens_is_long_private_and_kept(workspace: Path) -> None:
    first = scheduler.environment()["AIRFLOW__API_AUTH__JWT_SECRET"]
    assert len(first) >= 64
    assert scheduler.environment()["AIRFLOW__API_AUTH__JWT_SECRET"] == first
    assert (scheduler.home() / "jwt_secret").stat().st_mode & 0o077 == 0
