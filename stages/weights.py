"""The weights of a turn: the base model, and what each training stage laid over it: an adapter, or all weights anew."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from stages import adapters, training
from stages.launch import is_main
from thumbwheel.errors import ModelError
from thumbwheel.folders import whole_folder
from thumbwheel.settings import settings

TRAINED = ("sft", "dpo", "kto")
"""The stages that train, in their order, each upon what those before it left."""
Method = Literal["lora", "qlora", "full"]
"""How a stage trains: an adapter; an adapter over weights held in 4 bits (Dettmers et al. 2023); or every weight."""
Dtype = Literal["float32", "bfloat16"]
"""Of the weights in memory."""
WHOLE = ("config.json", "model*.safetensors", "model.safetensors.index.json")
"""Files of a model whose weights were all trained; tokenizer and chat template stay those of the base."""


def is_whole(folder: Path) -> bool:
    """Tell whether a stage left all weights, and not an adapter."""
    return (folder / "config.json").is_file()


def laid(models: Path) -> list[Path]:
    """Return what the training stages left over the base, in their order; a candidate may not have gone through all."""
    return [models / stage for stage in TRAINED if (models / stage).is_dir()]


def split_at_whole(base: Path, laid: Sequence[Path]) -> tuple[Path, list[Path]]:
    """Return the newest folder that holds all weights, and the adapters that were laid over it since."""
    folders = [base, *laid]
    start = max(i for i, folder in enumerate(folders) if i == 0 or is_whole(folder))
    return folders[start], folders[start + 1 :]


def load(base: Path, dtype: str, laid: Sequence[Path] = ()) -> Any:
    """Return the model that the stages in `laid`, in their order, made of the base.

    Raises:
        ModelError: a folder is missing, damaged, or made for another model.
    """
    start, over = split_at_whole(base, laid)
    model = training.load_model(start, dtype)
    for folder in over:
        model = adapters.merge_adapter(model, folder)
    return model


def load_student(base: Path, dtype: str, method: Method, laid: Sequence[Path] = ()) -> Any:
    """Return the model that a stage goes on to train; by `qlora` its linear layers are held in 4 bits.

    Raises:
        ModelError: a folder is missing or damaged, or bitsandbytes cannot quantize on this device.
    """
    if method != "qlora":
        return load(base, dtype, laid).requires_grad_(True)  # merging an adapter leaves the weights frozen
    with _in_one_folder(base, dtype, laid) as folder:
        return _load_quantized(folder, dtype)


@contextmanager
def _in_one_folder(base: Path, dtype: str, laid: Sequence[Path]) -> Iterator[Path]:
    """Yield a folder that holds the model whole: quantization happens as weights are read from files."""
    start, over = split_at_whole(base, laid)
    if not over:
        yield start
        return
    settings().state_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings().state_dir, prefix="merged-") as folder:
        load(base, dtype, laid).save_pretrained(folder)
        yield Path(folder)


def _load_quantized(folder: Path, dtype: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    kind = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    training.require(folder, "config.json")
    model = training.loaded(folder, AutoModelForCausalLM.from_pretrained, dtype=dtype, quantization_config=kind)
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False  # repacks weights at the first evaluation, and training goes on
    return model


def frozen(base: Path, dtype: str, method: Method, laid: Sequence[Path] = ()) -> Any | None:
    """Return a second copy as the reference where all weights are trained; an adapter is switched off instead."""
    return load(base, dtype, laid).requires_grad_(False).eval() if method == "full" else None


@contextmanager
def reference(model: Any, frozen: Any | None) -> Iterator[Any]:
    """Yield the model as it was before training: the frozen copy, or `model` with its adapter off."""
    if frozen is not None:
        yield frozen.to(model.device)
        return
    with model.disable_adapter():
        yield model


def save(trainer: Any, target: Path) -> None:
    """Put what was trained in its place; all processes take part in gathering the weights, the main one writes."""
    part = target.with_name(f".{target.name}.gathered")
    trainer.save_model(str(part))
    if is_main():
        clean = _clean_whole if is_whole(part) else adapters.clean_adapter
        clean(part)
        with whole_folder(target) as folder:
            shutil.copytree(part, folder, dirs_exist_ok=True)
        shutil.rmtree(part)
    trainer.accelerator.wait_for_everyone()


def _clean_whole(folder: Path) -> None:
    keep = {path for pattern in WHOLE for path in folder.glob(pattern)}
    for path in set(folder.iterdir()) - keep:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    tidy_config(folder / "config.json")


def tidy_config(path: Path) -> None:
    """Drop from a config where its model came from: a hash must not depend on places."""
    config = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def weights_hash(folder: Path) -> str:
    """Return the SHA-256, in hex, of what a stage left: of its adapter, or of all weights.

    Raises:
        ModelError: there are no weights in `folder`.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder} holds no weights (no *.safetensors); make it with: dvc repro.")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
