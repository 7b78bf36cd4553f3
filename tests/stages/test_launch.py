"""A stage that is to run on several processes starts itself again under the right launcher, once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.launch import LaunchParams, launcher, spread
from thumbwheel.settings import REPOSITORY


def test_the_configuration_has_the_processes_and_the_device_that_are_asked_for(tmp_path: Path) -> None:
    command = launcher(LaunchParams(kind="zero3", processes=8), "stages.sft", "cuda", tmp_path)
    assert command[1:4] == ["-m", "accelerate.commands.launch", "--config_file"]
    assert command[-2:] == ["-m", "stages.sft"]
    written = yaml.safe_load((tmp_path / "stages.sft.yaml").read_text())
    assert (written["num_processes"], written["use_cpu"], written["distributed_type"]) == (8, False, "DEEPSPEED")
    assert (REPOSITORY / written["deepspeed_config"]["deepspeed_config_file"]).is_file()


def test_ddp_on_the_cpu_goes_by_torchrun(tmp_path: Path) -> None:
    command = launcher(LaunchParams(kind="ddp", processes=2), "stages.dpo", "cpu", tmp_path)
    assert command[2:] == ["torch.distributed.run", "--nproc-per-node", "2", "-m", "stages.dpo"]


@pytest.mark.parametrize(("params", "rank"), [(None, None), (LaunchParams(kind="ddp", processes=2), "1")])
def test_a_stage_alone_or_already_launched_goes_on_by_itself(
    monkeypatch: pytest.MonkeyPatch, params: LaunchParams | None, rank: str | None
) -> None:
    def forbidden(*_: Any) -> None:
        raise AssertionError("launched again")

    monkeypatch.setattr(os, "execv", forbidden)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    spread(params, "stages.sft")
