"""A training stage over several processes: it starts itself again under accelerate or torchrun."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from thumbwheel.params import Params
from thumbwheel.settings import REPOSITORY, settings

FOLDER = REPOSITORY / "stages" / "accelerate"


class LaunchParams(Params):
    """`kind` names a file of `stages/accelerate/`, `processes` how many there are: one for each GPU of this machine."""

    kind: Literal["ddp", "fsdp2", "zero3", "zero3_offload"]
    processes: int = Field(ge=1)


def is_main() -> bool:
    """True in the one process that writes files; the others of a launch only compute."""
    return int(os.environ.get("RANK", "0")) == 0


def spread(params: LaunchParams | None, module: str) -> None:
    """Become the launcher of `module`, unless there is none to be, or this is a process that it started."""
    if params is not None and "RANK" not in os.environ:
        command = launcher(params, module, settings().accelerator, settings().state_dir / "launch")
        os.execv(command[0], command)


def launcher(params: LaunchParams, module: str, accelerator: str, folder: Path) -> list[str]:
    """Return the command that runs `module` on several processes; its configuration is written into `folder`.

    On the CPU, `ddp` goes by torchrun: accelerate starts such processes by MPI alone.
    """
    python = [sys.executable, "-m"]
    if params.kind == "ddp" and accelerator == "cpu":
        return [*python, "torch.distributed.run", "--nproc-per-node", str(params.processes), "-m", module]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}.yaml"
    path.write_text(yaml.safe_dump(configuration(params, accelerator)))
    return [*python, "accelerate.commands.launch", "--config_file", str(path), "-m", module]


def configuration(params: LaunchParams, accelerator: str) -> dict[str, Any]:
    """Return accelerate's configuration for so many processes on this accelerator."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{params.kind}.yaml").read_text())
    return found | {"num_processes": params.processes, "use_cpu": accelerator == "cpu"}
