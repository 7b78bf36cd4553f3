"""The engine command: one way to start vLLM's OpenAI server, used by evaluation and by the chat service alike."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from thumbwheel.errors import EngineError, ModelError, PortInUseError
from thumbwheel.settings import settings

POLL_SECONDS = 0.5
STOP_SECONDS = 15
QUIET_PORTS = range(20000, 32768)
PR_SET_PDEATHSIG = 1
"""From `<sys/prctl.h>`: the signal that a process gets when its parent dies."""


def engine_command(
    model: Path, name: str, port: int, max_length: int, max_streams: int = 32, more: Sequence[str] = ()
) -> list[str]:
    """Return the command line that serves the bundle `model` under `name` on `port`.

    `max_length` is the window in tokens, prompt and answer together; `max_streams` how many requests run at once.
    What `THUMBWHEEL_ENGINE_ARGUMENTS` says comes after the arguments in `more`, and so wins over them.
    """
    settings_ = settings()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port), "--seed", "0"]
    command += ["--max-model-len", str(max_length), "--max-num-seqs", str(max_streams), "--dtype", "bfloat16"]
    if settings_.accelerator == "cpu":
        command += ["--enforce-eager"]
    return [*command, *more, *shlex.split(settings_.engine_arguments)]


def engine_environment() -> dict[str, str]:
    """Return the environment for an engine process: offline, without telemetry, sharing the cores politely."""
    fixed = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
        "OMP_WAIT_POLICY": "PASSIVE",
        "SPT_NOENV": "1",  # vLLM renames its processes, which else wipes the environment by which ours are found
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
    }
    return {**os.environ, **fixed}


@contextmanager
def running_engine(model: Path, name: str, max_length: int, log: Path, port: int | None = None) -> Iterator[str]:
    """Serve `model` for the length of a `with` block and yield the base URL, `http://127.0.0.1:PORT/v1`.

    The whole process group is stopped on the way out, whatever happened inside.

    Raises:
        ModelError: `model` holds no model.
        PortInUseError: the port is taken.
        EngineError: the server died, or was not ready in `THUMBWHEEL_ENGINE_START_SECONDS`.
    """
    if not (model / "config.json").is_file():
        raise ModelError(f"{model} holds no model (no config.json); make it with: dvc repro.")
    port = port or free_port()
    require_free(port)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        process = subprocess.Popen(
            engine_command(model, name, port, max_length),
            env=engine_environment(),
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    try:
        _wait_ready(process, port, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        stop_group(process)


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Stop a process that leads its own session, and all its children: TERM, then KILL."""
    for sign, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.poll()


def _die_with_parent() -> None:
    """Have the kernel stop the engine when its parent dies, even by KILL; elsewhere than on Linux the next turn does.

    The engine leads its own session, so that no signal to its parent's group reaches it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    """Return a port of the loopback interface that is free now, and that nothing takes by chance before it is used.

    It is not one of those that systems give to every connection that goes out (from 32768 on Linux).
    """
    for port in random.SystemRandom().sample(QUIET_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise PortInUseError(f"no port of 127.0.0.1 is free among 100 from {QUIET_PORTS.start} to {QUIET_PORTS.stop}.")


def require_free(port: int, host: str = "127.0.0.1") -> None:
    """Raise `PortInUseError` where something already listens on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUseError(
                f"port {port} on {host} is in use ({error.strerror}); stop what listens there, "
                "or choose another with THUMBWHEEL_CHAT_PORT, _ENGINE_PORT, _MLFLOW_PORT or _AIRFLOW_PORT."
            ) from None


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    limit = settings().engine_start_seconds
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if (status := process.poll()) is not None:
            raise EngineError(
                f"the engine ended with status {status} before it was ready; the last lines of {log}: {_tail(log)}"
            )
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(POLL_SECONDS)
    raise EngineError(f"the engine was not ready in {limit} s; see {log}, or raise THUMBWHEEL_ENGINE_START_SECONDS.")


def _tail(log: Path, characters: int = 400) -> str:
    return log.read_text(errors="replace")[-characters:]
