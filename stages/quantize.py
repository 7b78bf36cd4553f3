"""Merge both adapters into the base model and write the bundle to be served, in the format of `quantize.format`.

    python -m stages.quantize

`bf16` keeps the weights; `w8a8` rounds the weights of the linear layers to int8, one scale an output channel, and lets
the engine quantize activations per token as it runs (compressed-tensors, which vLLM loads on CPU and GPU alike).
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from stages import templates, training, weights
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.folders import whole_folder
from thumbwheel.lake import read_pinned, write_json
from thumbwheel.params import Params, load_params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

CARRIED = ("chat_template*", "tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "generation_config.json")
"""What the bundle takes from the base model byte for byte, so that prompts are rendered as in training."""


class QuantizeParams(Params):
    """`perplexity_rows` test conversations, cut at `max_length` tokens, measure what quantization costs."""

    format: Literal["bf16", "w8a8"]
    perplexity_rows: int
    max_length: int


def main() -> None:
    params = load_params("quantize", QuantizeParams)
    training.quiet()
    rows = read_pinned("split", "conversations").to_pylist()
    models = settings().models
    start = time.monotonic()
    with training.main_run("quantize", params) as stage:
        facts = build(models, [row["messages"] for row in rows if row["split"] == "test"], params)
        write_json(settings().reports / "quantize.json", facts)
        if stage is not None:
            stage.metrics({name: value for name, value in facts.items() if isinstance(value, int | float)})
            stage.metrics({"seconds": time.monotonic() - start})
    log.info("quantize: %s", facts)


def build(models: Path, conversations: Sequence[Sequence[Mapping[str, str]]], params: QuantizeParams) -> dict[str, Any]:
    """Write `models/served` and return its size, its hash and the perplexity before and after."""
    import torch

    base = models / "base"
    sample = encoded(base, conversations, params)
    model = weights.load(base, "float32", [models / "sft", models / "dpo"])
    before = perplexity(model.to(training.device()).eval(), sample)
    if params.format == "w8a8":
        round_to_int8(model)
    else:
        model.to(torch.bfloat16)
    after = perplexity(model, sample)
    with whole_folder(models / "served") as folder:
        write_bundle(model, base, folder, params.format)
    return {
        "format": params.format,
        "bytes_before": weight_bytes(base),
        "bytes_after": weight_bytes(models / "served"),
        "perplexity_before": training.rounded(before),
        "perplexity_after": training.rounded(after),
        "perplexity_rows": len(sample),
        "bundle": bundle_hash(models / "served"),
    }


def encoded(
    base: Path, conversations: Sequence[Sequence[Mapping[str, str]]], params: QuantizeParams
) -> list[dict[str, list[int]]]:
    """Return the conversations that perplexity is measured on."""
    tokenizer = training.load_tokenizer(base)
    template = templates.training_template(tokenizer)
    picked = conversations[: params.perplexity_rows]
    return [templates.encode(tokenizer, template, one, params.max_length) for one in picked]


def round_to_int8(model: Any) -> None:
    """Attach the W8A8 scheme to every linear layer but the head, with scales from the weights alone.

    The model then computes as the engine will: int8 weights, activations quantized per token. Scales are rounded to
    bfloat16, as they are stored, before the weights are divided by them.
    """
    import torch
    from compressed_tensors.quantization import QuantizationConfig, QuantizationStatus, apply_quantization_config
    from compressed_tensors.quantization.utils import calculate_qparams, is_module_quantized

    config = QuantizationConfig(config_groups={"W8A8": ["Linear"]}, ignore=["lm_head"])
    apply_quantization_config(model, config)
    for module in model.modules():
        if not is_module_quantized(module):
            continue
        weight, scheme = module.weight.data, module.quantization_scheme.weights
        low, high = torch.aminmax(weight, dim=1, keepdim=True)
        scale, _ = calculate_qparams(low, high, scheme)
        module.weight_scale.data.copy_(scale.to(torch.bfloat16))
        module.quantization_status = QuantizationStatus.FROZEN


def write_bundle(model: Any, base: Path, folder: Path, kind: str) -> None:
    """Save the model with the tokenizer, chat template and generation settings of its base."""
    import torch

    if kind == "w8a8":
        from compressed_tensors import ModelCompressor

        compressor = ModelCompressor.from_pretrained_model(model)
        compressor.compress_model(model)
        model.to(torch.bfloat16).save_pretrained(folder)
        compressor.update_config(str(folder))
    else:
        model.save_pretrained(folder)
    for pattern in CARRIED:
        for path in base.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    weights.tidy_config(folder / "config.json")


def perplexity(model: Any, sample: Sequence[Mapping[str, Sequence[int]]]) -> float | None:
    """Return the exponential of the mean negative log-likelihood, in nats, of the answers' tokens; None without any."""
    import torch

    total, tokens = 0.0, 0
    with torch.inference_mode():
        for one in sample:
            ids, labels = (torch.tensor([one[name]], device=model.device) for name in ("input_ids", "labels"))
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
            kept = labels[:, 1:] != templates.IGNORED
            losses = torch.nn.functional.cross_entropy(logits[kept], labels[:, 1:][kept], reduction="sum")
            total, tokens = total + float(losses), tokens + int(kept.sum())
    return math.exp(total / tokens) if tokens else None


def weight_bytes(folder: Path) -> int:
    """Return the size of a model's weights."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


if __name__ == "__main__":
    run(main)
