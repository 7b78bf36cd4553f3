"""The engine: ready when a block is entered, gone when it is left, and its failures told in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.waiting import eventually
from thumbwheel import engine
from thumbwheel.engine import engine_command, engine_environment, free_port, require_free, running_engine, stop_group
from thumbwheel.errors import EngineError, ModelError, PortInUseError
from thumbwheel.settings import settings

SERVER = """
import http.server, subprocess, sys, pathlib
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[2]).write_text(str(child.pid))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""Healthy at once, with a child process as vLLM has its workers."""


@pytest.fixture
def model(workspace: Path) -> Path:
    (workspace / "model").mkdir()
    (workspace / "model" / "config.json").write_text("{}")
    return workspace / "model"


@pytest.fixture
def child(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fake engine writes the process id of its child."""
    path = model.parent / "child.pid"

    def command(model: Path, name: str, port: int, max_length: int) -> list[str]:
        return [sys.executable, "-c", SERVER, str(port), str(path)]

    monkeypatch.setattr(engine, "engine_command", command)
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.05)
    return path


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).is_success
    except httpx.HTTPError:
        return False


def gone(pid: int) -> bool:
    return eventually(lambda: not alive(pid))


def test_the_command_serves_the_model_on_the_loopback_with_what_the_settings_add(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBWHEEL_ENGINE_ARGUMENTS", "--tensor-parallel-size 2 --note 'two words'")
    settings.cache_clear()

    command = engine_command(Path("m"), "name", 8701, 2048)

    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--model") + 1] == "m"
    assert command[-4:] == ["--tensor-parallel-size", "2", "--note", "two words"]


def test_the_gpu_engine_may_compile_and_the_cpu_engine_may_not(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--enforce-eager" in engine_command(Path("m"), "name", 8701, 2048)
    monkeypatch.setenv("THUMBWHEEL_ACCELERATOR", "cuda")
    settings.cache_clear()

    assert "--enforce-eager" not in engine_command(Path("m"), "name", 8701, 2048)


def test_an_engine_neither_downloads_nor_reports() -> None:
    assert {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}.items() <= engine_environment().items()


def test_inside_the_block_the_engine_answers_and_after_it_the_whole_group_is_gone(model: Path, child: Path) -> None:
    with running_engine(model, "name", 512, model.parent / "engine.log") as url:
        answer = httpx.get(url.removesuffix("/v1") + "/health", timeout=60)
        worker = int(child.read_text())
        there = alive(worker)

    assert answer.status_code == 200
    assert there
    assert gone(worker)


def test_an_error_inside_the_block_stops_the_engine_too(model: Path, child: Path) -> None:
    with pytest.raises(ZeroDivisionError), running_engine(model, "name", 512, model.parent / "engine.log"):
        raise ZeroDivisionError

    assert gone(int(child.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is signalled on Linux")
def test_an_engine_dies_with_its_parent_even_by_kill(model: Path, child: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from thumbwheel import engine\n"
        f"engine.engine_command = lambda m, n, port, w: [sys.executable, '-c', {SERVER!r}, str(port), {str(child)!r}]\n"
        f"with engine.running_engine(Path({str(model)!r}), 'name', 512, Path('engine.log')) as url:\n"
        "    print(url, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=model.parent, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    parent.kill()
    parent.wait()

    assert eventually(lambda: not answers(url.removesuffix("/v1") + "/health"))
    os.kill(int(child.read_text()), 9)


def test_an_engine_that_dies_tells_the_end_of_its_log(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dies = [sys.executable, "-c", "import sys; sys.exit('no such quantization')"]
    monkeypatch.setattr(engine, "engine_command", lambda *_: dies)

    with (
        pytest.raises(EngineError, match=r"ended with status 1.*no such quantization"),
        running_engine(model, "name", 512, model.parent / "engine.log"),
    ):
        pytest.fail("it was never ready")


def test_an_engine_that_is_never_ready_is_given_up(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBWHEEL_ENGINE_START_SECONDS", "1")
    settings.cache_clear()
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr(engine, "engine_command", lambda *_: sleeps)

    with (
        pytest.raises(EngineError, match="not ready in 1 s"),
        running_engine(model, "name", 512, model.parent / "engine.log"),
    ):
        pytest.fail("it was never ready")


def test_a_folder_without_a_model_is_named(workspace: Path) -> None:
    with (
        pytest.raises(ModelError, match="holds no model"),
        running_engine(workspace, "name", 512, workspace / "engine.log"),
    ):
        pytest.fail("there is nothing to serve")


def test_a_port_in_use_is_named(model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use"):
            require_free(port)
        with (
            pytest.raises(PortInUseError),
            running_engine(model, "name", 512, model.parent / "engine.log", port),
        ):
            pytest.fail("the port is taken")


def test_a_free_port_is_free() -> None:
    require_free(free_port())


def test_a_group_that_ignores_the_polite_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "STOP_SECONDS", 0.5)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()

    stop_group(process)

    assert process.poll() == -9
