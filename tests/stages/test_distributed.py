"""The same stages run on two CPU processes: each with the whole model, or sharing it by DeepSpeed ZeRO-3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stages.test_sentinel import LIMITS
from tests.stages.worlds import OPTIMISER, give_identity_sft, make_world, write_params
from thumbwheel.bundle import bundle_hash
from thumbwheel.settings import REPOSITORY

LAUNCHERS = {
    "zero3": ["accelerate.commands.launch", "--config_file", "stages/accelerate/zero3.yaml"],
    "offload": ["accelerate.commands.launch", "--config_file", "stages/accelerate/zero3_offload.yaml"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "stage", "engine"),
    [
        ("zero3", "sft", "DeepSpeedEngine, ZeRO stage 3, 2 processes"),
        ("zero3", "dpo", "DeepSpeedEngine, ZeRO stage 3, 2 processes"),
        ("offload", "sft", "DeepSpeedEngine, ZeRO stage 3, 2 processes"),
        (None, "sft", "DistributedDataParallel, 2 processes"),
    ],
    ids=["zero3-sft", "zero3-dpo", "offload-sft", "ddp-sft by a parameter alone"],
)
def test_two_processes_train_and_one_adapter_comes_of_it(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory, launcher: str | None, stage: str, engine: str
) -> None:
    make_world(workspace)
    give_identity_sft(workspace)
    launch = None if launcher else {"kind": "ddp", "processes": 2}
    write_params(workspace, **{stage: {"sentinel": LIMITS, "optimiser": OPTIMISER | {"patience": 5}, "launch": launch}})
    before = bundle_hash(workspace / "models" / "base")
    launched_by = ["-m", *LAUNCHERS[launcher]] if launcher else []
    command = [sys.executable, *launched_by, "-m", f"stages.{stage}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "THUMBWHEEL_LOG": "INFO"}
    environment["TORCH_EXTENSIONS_DIR"] = str(tmp_path_factory.getbasetemp() / "torch_extensions")
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert engine in done.stderr
    report = json.loads((workspace / "data" / "reports" / f"{stage}.json").read_text())
    assert report["validation_loss_after"] < report["validation_loss_before"]
    assert 0 < report["kl"] < 1
    assert report["best_step"] == 3
    saved = sorted(path.name for path in (workspace / "models" / stage).iterdir())
    assert saved == ["adapter_config.json", "adapter_model.safetensors"]
    assert bundle_hash(workspace / "models" / "base") == before


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "stages" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_launch_configuration_is_one_that_accelerate_reads(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes >= 2
    named = (config.deepspeed_config or {}).get("deepspeed_config_file")
    assert named is None or json.loads((REPOSITORY / named).read_text())["zero_optimization"]["stage"] == 3
    assert config.distributed_type != "FSDP" or config.fsdp_config["fsdp_version"] == 2
