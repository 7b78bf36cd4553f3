"""LoRA adapters: their shape, and how they are merged into the model that they were trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stages.launch import is_main
from stages.training import loaded, require
from thumbwheel.errors import TrainingError
from thumbwheel.folders import whole_folder
from thumbwheel.params import Params


class LoraParams(Params):
    """Shape of an adapter. `targets` is `all-linear` or module names; `dropout` a probability."""

    r: int = Field(gt=0)
    alpha: int = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)
    targets: Literal["all-linear"] | list[str]


def merge_adapter(model: Any, folder: Path) -> Any:
    """Return `model` with the LoRA adapter in `folder` added into its weights.

    Raises:
        ModelError: the folder is missing, damaged, or made for another model.
    """
    from peft import PeftModel

    require(folder, "adapter_config.json")
    merged: Any = loaded(folder, lambda path: PeftModel.from_pretrained(model, path)).merge_and_unload()
    return merged


def lora_config(params: LoraParams, model: Any) -> Any:
    """Return the PEFT configuration of a fresh adapter on `model`.

    Raises:
        TrainingError: a target is no module of the model; PEFT would leave it out without a word.
    """
    from peft import LoraConfig

    names = [f".{name}" for name, module in model.named_modules() if hasattr(module, "weight")]
    for target in [] if isinstance(params.targets, str) else params.targets:
        if not any(name.endswith(f".{target}") for name in names):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in names}))
            raise TrainingError(f"lora.targets names '{target}', which the model does not have; it has: {known}.")
    return LoraConfig(
        r=params.r,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=params.targets,
        task_type="CAUSAL_LM",
    )


def save_identity(model: Any, lora: LoraParams, seed: int, target: Path) -> dict[str, Any]:
    """Save an adapter that changes nothing, for a stage with nothing to learn from, and return that it took no step."""
    import torch
    from peft import get_peft_model

    torch.manual_seed(seed)
    if is_main():
        save_in_place(get_peft_model(model, lora_config(lora, model)), target)
    return {"steps": 0}


def save_in_place(model: Any, target: Path) -> None:
    """Put the adapter of a PEFT model in its place."""
    with whole_folder(target) as folder:
        model.save_pretrained(folder)
        clean_adapter(folder)


def clean_adapter(folder: Path) -> None:
    """Leave in a saved adapter only what defines it, naming its base by the place in this repository."""
    for path in folder.iterdir():
        if path.name not in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "models/base"
    if isinstance(config.get("target_modules"), list):  # PEFT keeps a set, whose order changes from run to run
        config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
