"""The keeper of the engine's process, over small real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import eventually

SERVER = """
import os, pathlib, subprocess, sys, time
here = pathlib.Path(sys.argv[1])
child = subprocess.Popen(["sleep", "600"])
(here / f"{time.time_ns()}.pids").write_text(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "serving.keeper", sys.executable, "-c", SERVER, str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()
    for number in pids(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def pids(folder: Path) -> list[int]:
    """Return server and child of every start, oldest first."""
    return [int(n) for path in sorted(folder.glob("*.pids")) for n in path.read_text().split()]


def alive(number: int) -> bool:
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE


def test_a_killed_server_is_started_again_and_its_orphans_are_gone(keeper: object, tmp_path: Path) -> None:
    assert eventually(lambda: len(pids(tmp_path)) == 2)
    server, orphan = pids(tmp_path)
    os.kill(server, signal.SIGKILL)
    assert eventually(lambda: len(pids(tmp_path)) == 4)
    assert eventually(lambda: not alive(orphan))


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_with_its_keeper(keeper: subprocess.Popen[bytes], tmp_path: Path, sign: signal.Signals) -> None:
    assert eventually(lambda: len(pids(tmp_path)) == 2)
    keeper.send_signal(sign)
    assert eventually(lambda: not alive(pids(tmp_path)[0]))


def test_a_server_that_cannot_start_is_given_up() -> None:
    command = [sys.executable, "-m", "serving.keeper", sys.executable, "-c", "raise SystemExit(3)"]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=60).returncode == 3
