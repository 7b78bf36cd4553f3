"""LoRA adapters: their shape, and how they are saved, hashed and merged into the model that they were trained on."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from stages.training import is_main, loaded, require
from thumbwheel.folders import whole_folder
from thumbwheel.params import Params


class LoraParams(Params):
    """Shape of an adapter. `targets` is `all-linear` or module names; `dropout` a probability."""

    r: int
    alpha: int
    dropout: float
    targets: str | list[str]


def merge_adapter(model: Any, folder: Path) -> Any:
    """Return `model` with the LoRA adapter in `folder` added into its weights.

    Raises:
        ModelError: the folder is missing, damaged, or made for another model.
    """
    from peft import PeftModel

    require(folder, "adapter_config.json")
    merged: Any = loaded(folder, lambda path: PeftModel.from_pretrained(model, path)).merge_and_unload()
    return merged


def lora_config(params: LoraParams) -> Any:
    """Return the PEFT configuration of a fresh adapter."""
    from peft import LoraConfig

    return LoraConfig(
        r=params.r,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=params.targets,
        task_type="CAUSAL_LM",
    )


def save_adapter(trainer: Any, target: Path) -> None:
    """Put a trained adapter in its place; all processes take part in gathering the weights, the main one writes."""
    part = target.with_name(f".{target.name}.gathered")
    trainer.save_model(str(part))
    if is_main():
        clean_adapter(part)
        with whole_folder(target) as folder:
            shutil.copytree(part, folder, dirs_exist_ok=True)
        shutil.rmtree(part)
    trainer.accelerator.wait_for_everyone()


def adapter_hash(folder: Path) -> str:
    """Return the SHA-256, in hex, of an adapter's weights.

    Raises:
        ModelError: there is no adapter in `folder`.
    """
    require(folder, "adapter_model.safetensors")
    with (folder / "adapter_model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
