"""What the parity check says of the bundle of a finished turn, and of planted ones that are wrong in a known way.

    python -m benchmarks.parity      # after make run; THUMBWHEEL_ROOT names another finished turn

Every bundle is written with the real adapters, served by the real engine and checked as the stage does.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from stages import parity, quantize, training, weights
from stages.parity import ParityParams
from stages.quantize import QuantizeParams
from thumbwheel.command import run
from thumbwheel.lake import read_pinned
from thumbwheel.params import load_params
from thumbwheel.settings import settings

KIND = "w8a8"


def main() -> None:
    params = load_params("parity", ParityParams)
    training.quiet()
    chosen = parity.choose(read_pinned("split", "conversations").to_pylist(), params)
    print(f"| bundle | top-1 | divergence | {' | '.join(weights.TRAINED)} | equal beginnings | found | seconds |")
    print(f"|---|---:|---:|{'---:|' * len(weights.TRAINED)}---:|---|---:|")
    for title, plant in PLANTED.items():
        with tempfile.TemporaryDirectory() as folder:
            models = Path(folder)
            for name in ("base", *weights.TRAINED):
                (models / name).symlink_to((settings().models / name).resolve())
            plant(models)
            began = time.monotonic()
            print(line(title, parity.check(models, chosen, params), time.monotonic() - began), flush=True)


def line(title: str, found: dict[str, Any], seconds: float) -> str:
    """Return a line of the table."""
    scales = [found["scales"][name] for name in weights.TRAINED]
    told = [f"{one['value']:.2f}" if one and one["told"] else "–" for one in scales]
    faults = "; ".join(found["faults"]) or "nothing"
    shares = f"{100 * found['top1']:.1f} % | {found['divergence']:.4f}"
    return f"| {title} | {shares} | {' | '.join(told)} | {found['answers_prefix']:.0%} | {faults} | {seconds:.0f} |"


def as_released(models: Path) -> None:
    """Take the bundle of the turn."""
    (models / "served").symlink_to((settings().models / "served").resolve())


def built(models: Path, names: Sequence[str] = weights.TRAINED, kind: str = KIND) -> None:
    """Write a bundle with each adapter merged as often as it is named."""
    model = weights.load(models / "base", "float32", [models / name for name in names])
    if kind == "w8a8":
        quantize.round_weights(model, [], load_params("quantize", QuantizeParams))
    else:
        model = model.bfloat16()
    (models / "served").mkdir()
    quantize.write_bundle(model, models / "base", models / "served", kind)


def half_alpha(models: Path) -> None:
    """Merge the SFT adapter as with half its alpha."""
    whole, half = models / "sft", models / "half"
    shutil.copytree(whole.resolve(), half)
    weights = load_file(half / "adapter_model.safetensors")
    halved = {name: value * 0.5 if "lora_B" in name else value for name, value in weights.items()}
    save_file(halved, half / "adapter_model.safetensors", metadata={"format": "pt"})
    built(models, ("half", "dpo", "kto"))


def other_template(models: Path) -> None:
    """Serve the right weights with a template that leaves the system turn out."""
    copied(models)
    path = models / "served" / "chat_template.jinja"
    cut = "{% if messages[0]['role'] == 'system' %}{% set messages = messages[1:] %}{% endif %}"
    path.write_text(cut + path.read_text())


def other_tokenizer(models: Path) -> None:
    """Serve the right weights with a tokenizer that knows only half of its merges."""
    copied(models)
    path = models / "served" / "tokenizer.json"
    document = json.loads(path.read_text())
    document["model"]["merges"] = document["model"]["merges"][: len(document["model"]["merges"]) // 2]
    path.write_text(json.dumps(document))


def copied(models: Path) -> None:
    """Copy the bundle of the turn."""
    shutil.copytree((settings().models / "served").resolve(), models / "served")


PLANTED: dict[str, Callable[[Path], None]] = {
    "as released": as_released,
    "the same in bf16": lambda models: built(models, kind="bf16"),
    "another chat template": other_template,
    "another tokenizer": other_tokenizer,
    "SFT with half its alpha": half_alpha,
    "SFT merged twice": lambda models: built(models, ("sft", "sft", "dpo", "kto")),
    "DPO not merged": lambda models: built(models, ("sft", "kto")),
    "nothing merged": lambda models: built(models, ()),
}

if __name__ == "__main__":
    run(main)
