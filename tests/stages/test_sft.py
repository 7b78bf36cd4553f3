"""SFT on a tiny model: it learns, repeats itself exactly, and survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages import sft
from tests.stages.worlds import OPTIMISER, make_world, preferences, write_params
from thumbwheel.errors import TrainingError
from thumbwheel.settings import REPOSITORY

ADAPTER = ["adapter_config.json", "adapter_model.safetensors"]


def report(root: Path) -> dict[str, float]:
    return dict(json.loads((root / "data" / "reports" / "sft.json").read_text()))


def adapter_bytes(root: Path) -> bytes:
    return (root / "models" / "sft" / ADAPTER[1]).read_bytes()


def environment(root: Path) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **threads, "PYTHONPATH": str(REPOSITORY), "THUMBWHEEL_ROOT": str(root)}


@pytest.mark.slow
def test_training_lowers_the_validation_loss_and_leaves_only_the_adapter(workspace: Path) -> None:
    make_world(workspace)
    sft.main()
    assert sorted(path.name for path in (workspace / "models" / "sft").iterdir()) == ADAPTER
    assert report(workspace)["validation_loss_after"] < report(workspace)["validation_loss_before"]
    assert not list((workspace / ".thumbwheel" / "checkpoints").iterdir())


@pytest.mark.slow
def test_the_same_inputs_give_the_same_adapter_and_report(workspace: Path) -> None:
    make_world(workspace)
    sft.main()
    files = [(workspace / "models" / "sft" / name).read_bytes() for name in ADAPTER]
    facts = report(workspace)
    sft.main()
    assert [(workspace / "models" / "sft" / name).read_bytes() for name in ADAPTER] == files
    assert report(workspace) == facts


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_adapter(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, sft={"lora": {"r": 4, "alpha": 8, "dropout": 0.1, "targets": "all-linear"}})
    command = [sys.executable, "-m", "stages.sft"]
    whole = subprocess.run(command, env=environment(workspace), cwd=workspace, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    wanted, facts = adapter_bytes(workspace), report(workspace)
    for path in (workspace / "models" / "sft").iterdir():
        path.unlink()

    kill_after_a_checkpoint(command, workspace)
    again = subprocess.run(command, env=environment(workspace), cwd=workspace, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "resuming from step" in again.stderr
    assert adapter_bytes(workspace) == wanted
    assert report(workspace) == facts


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


def test_nothing_to_train_on_is_one_clear_error(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, sft={"max_length": 8})
    with pytest.raises(TrainingError, match="no conversation to train on"):
        sft.main()
    assert not (workspace / "models" / "sft").exists()


@pytest.mark.slow
def test_a_learning_rate_that_breaks_the_loss_stops_the_stage(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, sft={"optimiser": {**OPTIMISER, "learning_rate": 1e30}})
    with pytest.raises(TrainingError, match="learning rate"):
        sft.main()
    assert not (workspace / "models" / "sft").exists()


def test_only_training_pairs_of_the_named_objectives_are_demonstrated() -> None:
    pairs = preferences(8).to_pylist()
    shown = sft.demonstrations(pairs, ["safe"])
    assert [row["messages"][0]["content"] for row in shown] == ["Is 0 even?", "Is 4 even?"]
    assert shown[1]["messages"][-1] == {"role": "assistant", "content": pairs[4]["chosen"]}
