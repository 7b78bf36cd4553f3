"""Turn the wheel once: run the DAG `alignment`, follow it line by line, and print a summary.

    python -m thumbwheel.turn --approve yes|pass|no|ask      # make run

Where the local stack is up, its scheduler runs the turn; otherwise Airflow runs it in a process of ours. What a killed
turn left behind is cleared away first, so that the next one completes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thumbwheel import processes, scheduler, stack, summary
from thumbwheel.command import run
from thumbwheel.errors import TurnError
from thumbwheel.scheduler import ENDED, TaskState
from thumbwheel.settings import settings

POLL_SECONDS = 0.4


@dataclass
class Turn:
    """What is known of a turn while it runs, and after it."""

    began: float = field(default_factory=time.monotonic)
    run_id: str = ""
    state: str = "running"
    tasks: list[TaskState] = field(default_factory=list)
    peak: int = 0

    @property
    def seconds(self) -> float:
        """Return the wall time since the turn began."""
        return time.monotonic() - self.began


def main() -> None:
    """Run one turn and print its summary; exit 0 only where it completed."""
    options = _parser().parse_args()
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, _interrupt)
    with processes.only_one(settings().state_dir / "turn.lock", "a turn of the wheel"):
        turn = turn_once({"approve": options.approve})
        finish(turn)


def turn_once(conf: dict[str, Any]) -> Turn:
    """Run the DAG with `conf` to its end and return what happened."""
    turn = Turn()
    if stack.is_up():
        _follow_in_stack(turn, conf)
    else:
        clear_away()
        scheduler.prepare()
        scheduler.fail_unfinished()
        with _served_approvals(conf):
            _follow_here(turn, conf)
    return turn


def clear_away() -> None:
    """Stop what a killed turn left running in this root, and free what it held."""
    if stopped := processes.stop(processes.leased("turn")):
        print(f"stopped {stopped} processes of a turn that was killed")
    processes.clear_dvc_locks(settings().root)
    processes.clear_build_locks()


def finish(turn: Turn) -> None:
    """Report a turn to the tracker and to the terminal.

    Raises:
        TurnError: a task failed; the message holds its last words.
    """
    failed = [task.task for task in turn.tasks if task.state == "failed"]
    if turn.state != "success":
        raise TurnError(_failure(turn, failed))
    if any(task.state == "success" for task in turn.tasks if task.task not in summary.ALWAYS_RUN):
        summary.report(turn.run_id, turn.tasks, turn.seconds, turn.peak)
    summary.show(turn.run_id, turn.tasks, turn.seconds, turn.peak)


def _follow_here(turn: Turn, conf: dict[str, Any]) -> None:
    log = settings().state_dir / "logs" / "airflow.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    before = scheduler.latest_run()
    command = [sys.executable, "-m", "airflow", "dags", "test", scheduler.DAG, "--conf", json.dumps(conf)]
    with log.open("wb") as sink:
        child = subprocess.Popen(
            command,
            cwd=settings().root,
            env={**scheduler.environment(), **processes.lease("turn")},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        with processes.PeakMemory(lambda: [*processes.tree(os.getpid()), *processes.leased("chat")]) as memory:
            _follow(turn, before, lambda: child.poll() is None)
            child.wait()
        turn.peak = memory.peak
        turn.state = "success" if child.returncode == 0 and turn.state == "success" else "failed"
    finally:
        processes.stop({*processes.tree(child.pid), *processes.leased("turn")})


def _follow_in_stack(turn: Turn, conf: dict[str, Any]) -> None:
    before = scheduler.latest_run()
    if before and before[2] in ("running", "queued"):
        raise TurnError(
            f"a turn of the wheel is already running (run {before[1]}); wait, or see {stack.airflow_url()}."
        )
    scheduler.airflow("dags", "trigger", scheduler.DAG, "--conf", json.dumps(conf))
    print(f"the local stack runs this turn; see {stack.airflow_url()}", flush=True)
    with processes.PeakMemory(lambda: [*processes.leased(stack.PURPOSE), *processes.leased("chat")]) as memory:
        _follow(turn, before, stack.is_up)
    turn.peak = memory.peak


def _follow(turn: Turn, before: tuple[int, str, str] | None, alive: Callable[[], bool]) -> None:
    """Print a line for each task that starts or ends, until the run ends or nothing runs it any more."""
    shown: dict[str, str] = {}
    while True:
        living = alive()
        if (newest := scheduler.latest_run()) and (before is None or newest[0] > before[0]):
            _, turn.run_id, turn.state = newest
            turn.tasks = scheduler.tasks(turn.run_id)
            for task in turn.tasks:
                _show(turn, task, shown)
        if turn.state in ("success", "failed") or not living:
            return
        time.sleep(POLL_SECONDS)


def _show(turn: Turn, task: TaskState, shown: dict[str, str]) -> None:
    state = task.state or ""
    if shown.get(task.task) == state or state not in (*ENDED, "running", "awaiting_input", "up_for_retry"):
        return
    shown[task.task] = state
    words = {
        "running": "started",
        "success": f"done in {task.seconds:.1f} s",
        "failed": f"failed after {task.seconds:.1f} s",
        "skipped": "skipped: inputs unchanged" if task.task not in summary.RELEASE_TASKS else "not needed",
        "awaiting_input": "waits for a release manager",
        "up_for_retry": "failed; it is tried again",
    }
    if state in words:
        print(f"[{turn.seconds:7.1f} s] {task.task:<18} {words[state]}", flush=True)


def _failure(turn: Turn, failed: list[str]) -> str:
    logs = settings().state_dir / "logs"
    if not failed:
        return f"the turn did not complete; see {logs / 'airflow.log'}."
    path = logs / f"{failed[0]}.log"
    return f"'{failed[0]}' failed: {last_words(path)} (its log: {path})"


def last_words(path: Path) -> str:
    """Return the last line of a task's log that says what went wrong."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()] if path.exists() else []
    ours = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return next(iter(ours or [line for line in reversed(lines) if line]), "it left no word")


@contextmanager
def _served_approvals(conf: dict[str, Any]) -> Iterator[None]:
    """Serve Airflow's page for the length of a turn that a release manager must approve."""
    if conf.get("approve") != "ask":
        yield
        return
    with stack.served_page():
        yield


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="thumbwheel.turn", description="Turn the wheel once.")
    parser.add_argument(
        "--approve",
        choices=("yes", "pass", "no", "ask"),
        default=os.environ.get("APPROVE", "yes"),
        help="yes: approve unless the gate fails; pass: only what it passes; no: keep the champion; "
        "ask: wait for a release manager in Airflow",
    )
    return parser


if __name__ == "__main__":
    run(main)
