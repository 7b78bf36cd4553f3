"""A training that was killed goes on where it stood, and ends with the very weights of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stages.test_sentinel import LIMITS
from tests.stages.worlds import OPTIMISER, give_identity_sft, make_world, report, write_params
from thumbwheel.settings import REPOSITORY


def adapter_bytes(root: Path, stage: str) -> bytes:
    return (root / "models" / stage / "adapter_model.safetensors").read_bytes()


def environment(root: Path) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **threads, "PYTHONPATH": str(REPOSITORY), "THUMBWHEEL_ROOT": str(root)}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_killed_run_goes_on_and_ends_with_the_same_adapter(workspace: Path, stage: str) -> None:
    make_world(workspace)
    give_identity_sft(workspace)
    lora = {"r": 4, "alpha": 8, "dropout": 0.1, "targets": "all-linear"}
    write_params(workspace, **{stage: {"lora": lora, "sentinel": LIMITS, "optimiser": OPTIMISER | {"patience": 5}}})
    command = [sys.executable, "-m", f"stages.{stage}"]
    whole = subprocess.run(command, env=environment(workspace), cwd=workspace, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    wanted, facts = adapter_bytes(workspace, stage), report(workspace, stage)
    for path in (workspace / "models" / stage).iterdir():
        path.unlink()

    kill_after_a_checkpoint(command, workspace)
    again = subprocess.run(command, env=environment(workspace), cwd=workspace, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "resuming from step" in again.stderr
    assert adapter_bytes(workspace, stage) == wanted
    assert report(workspace, stage) == facts


def kill_after_a_checkpoint(command: list[str], root: Path) -> None:
    """Run `command` and kill its group with force once a checkpoint is whole."""
    process = subprocess.Popen(
        command, env=environment(root), cwd=root, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not list((root / ".thumbwheel" / "checkpoints").glob("*/checkpoint-*/trainer_state.json")):
        assert process.poll() is None, "it ended before a checkpoint was seen"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
