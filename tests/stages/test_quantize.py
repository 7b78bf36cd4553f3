"""The bundle is the merged model, smaller by the format, with the tokenizer and template of its base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stages import adapters, quantize, templates, training
from tests.stages.worlds import make_world, write_params
from thumbwheel.bundle import bundle_hash


@pytest.fixture
def world(workspace: Path) -> Path:
    """A tiny base with two adapters: SFT moves one weight, DPO none."""
    make_world(workspace)
    lora = adapters.LoraParams(r=4, alpha=8, dropout=0.0, targets="all-linear")
    for name in ("sft", "dpo"):
        base = training.load_model(workspace / "models" / "base", "float32")
        adapters.save_identity(base, lora, 1, workspace / "models" / name)
    return workspace


def report(root: Path) -> dict[str, object]:
    return dict(json.loads((root / "data" / "reports" / "quantize.json").read_text()))


def move_the_sft_adapter(root: Path) -> None:
    from safetensors.torch import save_file

    path = root / "models" / "sft" / "adapter_model.safetensors"
    weights = {name: torch.ones_like(value) * 0.1 for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def test_w8a8_stores_the_layers_in_int8_and_keeps_embeddings_and_head(world: Path) -> None:
    quantize.main()
    weights = load_file(world / "models" / "served" / "model.safetensors")
    layers = {name: w for name, w in weights.items() if name.endswith("proj.weight")}
    assert len(layers) == 14
    assert all(w.dtype == torch.int8 for w in layers.values())
    assert weights["model.embed_tokens.weight"].dtype == torch.bfloat16
    config = json.loads((world / "models" / "served" / "config.json").read_text())
    assert config["quantization_config"]["format"] == "int-quantized"
    assert config["quantization_config"]["ignore"] == ["lm_head"]


def test_int8_weights_are_off_by_at_most_half_a_step(world: Path) -> None:
    quantize.main()
    weights = load_file(world / "models" / "served" / "model.safetensors")
    base = load_file(world / "models" / "base" / "model.safetensors")
    for name in (name for name in weights if name.endswith("proj.weight")):
        scale = weights[name.replace(".weight", ".weight_scale")].float()
        error = (weights[name].float() * scale - base[name].float()).abs()
        assert (error <= scale * 0.5001).all(), name


def test_the_bundle_carries_the_served_template_and_the_end_of_turn(world: Path) -> None:
    quantize.main()
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (world / "models/served" / name).read_bytes() == (world / "models/base" / name).read_bytes()


def test_the_report_names_the_bundle_that_lies_there(world: Path) -> None:
    quantize.main()
    facts = report(world)
    assert facts["bundle"] == bundle_hash(world / "models" / "served")
    assert int(str(facts["bytes_after"])) < int(str(facts["bytes_before"]))
    assert float(str(facts["perplexity_after"])) == pytest.approx(float(str(facts["perplexity_before"])), rel=0.05)


def test_the_same_inputs_give_the_same_bundle(world: Path) -> None:
    quantize.main()
    first = report(world)
    quantize.main()
    assert report(world) == first


def test_bf16_is_the_base_itself_where_the_adapters_change_nothing(world: Path) -> None:
    write_params(world, quantize={"format": "bf16"})
    quantize.main()
    weights = load_file(world / "models" / "served" / "model.safetensors")
    base = load_file(world / "models" / "base" / "model.safetensors")
    assert all(torch.equal(weights[name], base[name]) for name in base)
    assert "quantization_config" not in json.loads((world / "models/served/config.json").read_text())


def test_the_sft_adapter_is_merged_into_what_is_served(world: Path) -> None:
    quantize.main()
    before = report(world)["bundle"]
    move_the_sft_adapter(world)
    quantize.main()
    assert report(world)["bundle"] != before


def test_perplexity_of_an_even_guess_is_the_size_of_the_vocabulary() -> None:
    class Even(torch.nn.Module):
        device = "cpu"

        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
            return type("Out", (), {"logits": torch.zeros(*input_ids.shape, 50)})

    sample = [{"input_ids": [1, 2, 3], "labels": [templates.IGNORED, 2, 3]}]
    assert quantize.perplexity(Even(), sample) == pytest.approx(50)
    assert quantize.perplexity(Even(), []) is None
