"""The local stack: Airflow, the MLflow page and the chat service, started and stopped together.

python -m thumbwheel.stack up|down      # make up, make down
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from thumbwheel import processes, scheduler
from thumbwheel.command import run
from thumbwheel.engine import require_free
from thumbwheel.errors import ThumbwheelError, TurnError
from thumbwheel.release import read_release
from thumbwheel.settings import settings
from thumbwheel.tracking import tracking_uri

PURPOSE = "stack"
READY_SECONDS = 300
STOP_SECONDS = 30
POLL_SECONDS = 1.0


def main() -> None:
    """Bring the stack up, or down."""
    commands = {"up": up, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        raise TurnError(f"say one of: {', '.join(commands)}.")
    commands[sys.argv[1]]()


def up() -> None:
    """Start what is not running yet, wait until it answers, and print where it is.

    Raises:
        PortInUseError: a stranger listens on a port of ours.
        TurnError: a turn runs now, or a part did not come up.
    """
    with processes.only_one(settings().state_dir / "turn.lock", "a turn of the wheel"):
        if not is_up():
            _start()
        _wait()
    print(f"Airflow  {airflow_url()}  {_passwords()}")
    print(f"MLflow   {mlflow_url()}")
    print(f"Chat     {_serve()}")


def down() -> None:
    """Stop every process of the stack and of the chat service; there may be none."""
    stopped = processes.stop(processes.leased(PURPOSE), STOP_SECONDS)
    stopped += processes.stop(processes.leased(PURPOSE), STOP_SECONDS)
    subprocess.run([sys.executable, "-m", "stages.deploy", "--stop"], cwd=settings().root, check=True)
    print(f"stopped {stopped} processes of the stack")


def is_up() -> bool:
    """Tell whether the stack's scheduler runs."""
    return bool(pids())


def pids() -> list[int]:
    """Return the process ids of the stack."""
    return [process.pid for process in processes.leased(PURPOSE)]


def airflow_url() -> str:
    """Return the address of Airflow's page."""
    return f"http://127.0.0.1:{settings().airflow_port}"


def mlflow_url() -> str:
    """Return the address of MLflow's page."""
    return f"http://127.0.0.1:{settings().mlflow_port}"


@contextmanager
def served_page() -> Iterator[None]:
    """Serve Airflow's page, without its scheduler, for the length of a `with` block; for an approval in `make run`."""
    require_free(settings().airflow_port)
    process = _spawn("page", [sys.executable, "-m", "airflow", "api-server"], "turn")
    try:
        _wait_for(f"{airflow_url()}/api/v2/version", "page", process)
        print(f"Approve or reject at {airflow_url()}/required_actions as {_passwords()}", flush=True)
        yield
    finally:
        processes.stop(processes.tree(process.pid), STOP_SECONDS)


def _start() -> None:
    for port in (settings().airflow_port, settings().mlflow_port):
        require_free(port)
    processes.stop(processes.leased("turn"))
    scheduler.prepare()
    scheduler.make_pools()
    scheduler.fail_unfinished()
    _spawn("airflow", [sys.executable, "-m", "airflow", "standalone"], PURPOSE)
    _spawn("mlflow", [*_mlflow(), "--port", str(settings().mlflow_port)], PURPOSE)


def _mlflow() -> list[str]:
    store = ["--backend-store-uri", tracking_uri(), "--workers", "1", "--host", "127.0.0.1"]
    return [sys.executable, "-m", "mlflow", "server", *store]


def _spawn(name: str, command: list[str], purpose: str) -> subprocess.Popen[bytes]:
    log = log_path(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        return subprocess.Popen(
            command,
            cwd=settings().root,
            env={**scheduler.environment(), **processes.lease(purpose), "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )


def log_path(name: str) -> Path:
    """Return the log of a part of the stack."""
    return settings().state_dir / "logs" / f"stack-{name}.log"


def _wait() -> None:
    try:
        _wait_for(f"{mlflow_url()}/health", "mlflow")
        _wait_for(f"{airflow_url()}/api/v2/monitor/health", "airflow")
    except TurnError:
        processes.stop(processes.leased(PURPOSE), STOP_SECONDS)
        raise


def _wait_for(url: str, name: str, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if (process is not None and process.poll() is not None) or not (process or pids()):
            break
        try:
            if _healthy(httpx.get(url, timeout=5)):
                return
        except httpx.HTTPError:
            pass
        time.sleep(POLL_SECONDS)
    raise TurnError(f"{name} did not come up in {READY_SECONDS} s; see {log_path(name)}.")


def _healthy(answer: httpx.Response) -> bool:
    if answer.status_code != 200 or "json" not in answer.headers.get("content-type", ""):
        return answer.status_code == 200
    parts = answer.json()
    return all(part.get("status") in ("healthy", None) for part in parts.values() if isinstance(part, dict))


def _passwords() -> str:
    try:
        words = json.loads(scheduler.passwords_path().read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return f"(passwords in {scheduler.passwords_path()})"
    return ", ".join(f"{user} / {word}" for user, word in words.items())


def _serve() -> str:
    """Deploy the release, where there is one, and return the chat's address or why there is none."""
    if read_release() is None:
        return "nothing is released yet; turn the wheel first: make run"
    done = subprocess.run([sys.executable, "-m", "stages.deploy"], cwd=settings().root, check=False)
    if done.returncode != 0:
        raise ThumbwheelError("the chat service did not come up; Airflow and MLflow run. Stop them with: make down.")
    return f"http://{settings().host}:{settings().chat_port}"


if __name__ == "__main__":
    run(main)
