"""A training that was killed goes on where it stood, and ends with the very weights of one that was not."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stages import dpo, sft
from tests.stages.test_sentinel import LIMITS
from tests.stages.worlds import OPTIMISER, give_identity_sft, make_world, report, write_params
from tests.waiting import eventually
from thumbwheel.settings import REPOSITORY


def adapter_bytes(root: Path, stage: str) -> bytes:
    return (root / "models" / stage / "adapter_model.safetensors").read_bytes()


def environment(root: Path) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **threads, "PYTHONPATH": str(REPOSITORY), "THUMBWHEEL_ROOT": str(root)}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch count as in a process that was started with `environment`: more threads add up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("module", [sft, dpo], ids=["sft", "dpo"])
@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_goes_on_and_ends_with_the_same_adapter(
    workspace: Path, caplog: pytest.LogCaptureFixture, module: Any
) -> None:
    caplog.set_level(logging.INFO, "stages")
    stage = module.__name__.rpartition(".")[2]
    make_world(workspace)
    give_identity_sft(workspace)
    lora = {"r": 4, "alpha": 8, "dropout": 0.1, "targets": "all-linear"}
    write_params(workspace, **{stage: {"lora": lora, "sentinel": LIMITS, "optimiser": OPTIMISER | {"patience": 5}}})
    module.main()
    wanted, facts = adapter_bytes(workspace, stage), report(workspace, stage)
    for path in (workspace / "models" / stage).iterdir():
        path.unlink()

    kill_after_a_checkpoint([sys.executable, "-m", f"stages.{stage}"], workspace)
    module.main()
    assert "resuming from step" in caplog.text
    assert adapter_bytes(workspace, stage) == wanted
    assert report(workspace, stage) == facts


def kill_after_a_checkpoint(command: list[str], root: Path) -> None:
    """Run `command` and kill its group with force once a checkpoint is whole."""
    process = subprocess.Popen(
        command, env=environment(root), cwd=root, stderr=subprocess.DEVNULL, start_new_session=True
    )
    checkpoints = root / ".thumbwheel" / "checkpoints"
    seen = eventually(
        lambda: list(checkpoints.glob("*/checkpoint-*/trainer_state.json")) or process.poll() is not None, 300
    )
    assert seen
    assert process.poll() is None, "it ended before a checkpoint was seen"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
