"""Merge what was trained into the base model and write the bundle to be served, in the format of `quantize.format`.

    python -m stages.quantize

`bf16` keeps the weights; `w8a8` rounds those of the linear layers to int8, one step an output channel, and lets the
engine quantize activations per token as it runs; `w4a16` rounds them to 4 bits, a step for each `group_size` of a row's
columns (compressed-tensors, which vLLM loads on CPU and GPU alike).
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stages import gptq, templates, training, weights
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.errors import ModelError
from thumbwheel.folders import whole_folder
from thumbwheel.lake import read_pinned, write_json
from thumbwheel.params import Params, load_params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

CARRIED = ("chat_template*", "tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "generation_config.json")
"""What the bundle takes from the base model byte for byte, so that prompts are rendered as in training."""


class QuantizeParams(Params):
    """`perplexity_rows` test conversations, cut at `max_length` tokens, measure what quantization costs.

    `calibration_rows` training conversations tell GPTQ which weights matter; with 0, all count alike.
    """

    format: Literal["bf16", "w8a8", "w4a16"]
    group_size: int = Field(gt=0)
    calibration_rows: int = Field(ge=0)
    perplexity_rows: int = Field(ge=0)
    max_length: int = Field(gt=0)


def main() -> None:
    params = load_params("quantize", QuantizeParams)
    training.quiet()
    rows = read_pinned("split", "conversations").to_pylist()
    models = settings().models
    start = time.monotonic()
    with training.main_run("quantize", params) as stage:
        facts = build(models, rows, params)
        write_json(settings().reports / "quantize.json", facts)
        if stage is not None:
            stage.metrics({name: value for name, value in facts.items() if isinstance(value, int | float)})
            stage.metrics({"seconds": time.monotonic() - start})
    log.info("quantize: %s", facts)


def build(models: Path, rows: Sequence[Mapping[str, Any]], params: QuantizeParams) -> dict[str, Any]:
    """Write `models/served` and return its size, its hash and the perplexity before and after.

    Raises:
        ModelError: a model is missing or damaged, or its widths are no multiple of the group size.
    """
    import torch

    base = models / "base"
    sample = encoded(base, of_side(rows, "test")[: params.perplexity_rows], params.max_length)
    known = encoded(base, of_side(rows, "train")[: params.calibration_rows], params.max_length)
    model = weights.load(base, "float32", weights.laid(models))
    before = perplexity(model.to(training.device()).eval(), sample)
    if params.format == "bf16":
        model.to(torch.bfloat16)
    else:
        check_widths(model, group_of(params))
        round_weights(model, [one["input_ids"] for one in known], params)
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
        "calibration_rows": 0 if params.format == "bf16" else len(known),
        "bundle": bundle_hash(models / "served"),
    }


def of_side(rows: Sequence[Mapping[str, Any]], side: str) -> list[Sequence[Mapping[str, str]]]:
    """Return the messages of the conversations of one side of the split."""
    return [row["messages"] for row in rows if row["split"] == side]


def encoded(base: Path, conversations: Sequence[Sequence[Mapping[str, str]]], limit: int) -> list[dict[str, list[int]]]:
    """Return conversations as tokens, cut after `limit`, with the labels of their answers."""
    tokenizer = training.load_tokenizer(base)
    template = templates.training_template(tokenizer)
    return [templates.encode(tokenizer, template, one, limit) for one in conversations]


def check_widths(model: Any, group: int | None) -> None:
    """Refuse a group size that does not divide the width of every layer.

    Raises:
        ModelError: it does not.
    """
    import torch

    widths = {one.in_features for one in model.get_decoder().layers.modules() if isinstance(one, torch.nn.Linear)}
    if group is not None and (odd := sorted(width for width in widths if width % group)):
        raise ModelError(
            f"quantize.group_size = {group} does not divide a layer's width of {odd[0]}; choose "
            f"{math.gcd(*widths) & -math.gcd(*widths)} or a power of two below it."
        )


def round_weights(model: Any, calibration: Sequence[Sequence[int]], params: QuantizeParams) -> None:
    """Attach the format's scheme to every linear layer but the head, with weights rounded onto its grid.

    By GPTQ over the calibration conversations, or, without any, each weight to what is nearest. The model then computes
    as the engine will. Steps are rounded to bfloat16, as they are stored, before weights are divided by them.
    """
    import torch
    from compressed_tensors.quantization import QuantizationConfig, QuantizationStatus, apply_quantization_config
    from compressed_tensors.quantization.utils import calculate_qparams, is_module_quantized

    scheme = scheme_of(params)
    assert scheme.weights is not None

    def step(weight: Any) -> Any:
        low, high = torch.aminmax(weight, dim=1, keepdim=True)
        return calculate_qparams(low, high, scheme.weights)[0].to(torch.bfloat16).float()

    group, limit = group_of(params), 2 ** (scheme.weights.num_bits - 1) - 1
    steps = gptq.calibrate(model, calibration, limit, group, step) if calibration else {}
    config = QuantizationConfig(config_groups={params.format.upper(): scheme}, ignore=["lm_head"])
    apply_quantization_config(model, config)
    for name, module in model.named_modules():
        if is_module_quantized(module):
            own = steps[name] if calibration else nearest(module.weight.data, group, step)
            module.weight_scale.data.copy_(own.to(torch.bfloat16))
            module.quantization_status = QuantizationStatus.FROZEN


def nearest(weight: Any, group: int | None, step: gptq.Scale) -> Any:
    """Return the step of each group of columns of each row, (outputs, groups), for rounding without calibration."""
    import torch

    return torch.cat([step(columns) for columns in weight.split(group or weight.shape[1], dim=1)], dim=1)


def group_of(params: QuantizeParams) -> int | None:
    """Return how many columns share a step; None where a whole row does."""
    return params.group_size if params.format == "w4a16" else None


def scheme_of(params: QuantizeParams) -> Any:
    """Return the format as compressed-tensors describes it."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, preset_name_to_scheme

    if params.format == "w8a8":
        return preset_name_to_scheme("W8A8", ["Linear"])
    four = QuantizationArgs(num_bits=4, type="int", symmetric=True, strategy="group", group_size=params.group_size)
    return QuantizationScheme(targets=["Linear"], weights=four)


def write_bundle(model: Any, base: Path, folder: Path, kind: str) -> None:
    """Save the model with the tokenizer, chat template and generation settings of its base."""
    import torch

    if kind != "bf16":
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
