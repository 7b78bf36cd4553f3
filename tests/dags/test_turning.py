"""The DAG itself, run by Airflow over a toy wheel: turned, turned again, failed and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.dags.conftest import Turn
from tests.waiting import eventually

pytestmark = pytest.mark.slow


def said(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=600)
    return output


def files_of(root: Path) -> dict[str, str]:
    folders = ("data/pins", "data/reports", "models")
    return {str(p): p.read_text() for folder in folders for p in (root / folder).rglob("*.json")}


def wait_for(path: Path) -> None:
    assert eventually(path.exists, 300), f"{path} did not appear"


def processes_in(root: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter() if _in(p, root)]


def _in(process: psutil.Process, root: Path) -> bool:
    try:
        return process.environ().get("THUMBWHEEL_ROOT") == str(root)
    except psutil.Error:
        return False


def test_a_killed_turn_is_completed_by_the_next_and_the_one_after_finds_nothing_to_do(toy: Path, turn: Turn) -> None:
    (toy / "slow").write_text("sft")
    killed = turn()
    wait_for(toy / "reached")
    other = turn()
    assert "error: a turn of the wheel is already running" in said(other)
    assert other.returncode == 2
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    (toy / ".dvc" / "tmp" / "rwlock").write_text('{"write": {"models/sft": {"pid":')
    (toy / "slow").unlink()

    second = turn()
    output = said(second)
    assert second.returncode == 0, output
    assert "approved by the option approve=yes (no human looked)" in output
    assert json.loads((toy / ".thumbwheel" / "release.json").read_text())["version"] > 0
    assert (toy / "deployed").exists()
    assert eventually(lambda: processes_in(toy) == [])
    before = files_of(toy)

    third = turn()
    output = said(third)
    assert third.returncode == 0, output
    assert output.count("skipped: inputs unchanged") == 8
    assert files_of(toy) == before


def test_bad_input_ends_the_turn_with_one_line_and_a_failed_gate_releases_nothing(toy: Path, turn: Turn) -> None:
    (toy / "source").write_text("broken")
    first = turn()
    errors = [line for line in said(first).splitlines() if line.startswith("error: ") or "Traceback" in line]
    log = toy / ".thumbwheel" / "logs" / "sft.log"
    assert errors == [f"error: 'sft' failed: the source is broken; mend it. (its log: {log})"]
    assert first.returncode == 2

    (toy / "source").write_text("mended")
    (toy / "outcome").write_text("fail")
    second = turn()
    output = said(second)
    assert second.returncode == 0, output
    assert "the gate failed the candidate: the champion stays" in output
    assert not (toy / ".thumbwheel" / "release.json").exists()
    assert not (toy / "deployed").exists()


def test_an_interrupt_stops_every_process_of_the_turn(toy: Path, turn: Turn) -> None:
    (toy / "slow").write_text("sft")
    process = turn()
    wait_for(toy / "reached")
    process.send_signal(signal.SIGTERM)
    said(process)
    assert process.returncode == 130
    assert eventually(lambda: processes_in(toy) == [])
