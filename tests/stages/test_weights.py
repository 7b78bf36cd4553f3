"""What a stage leaves is an adapter or all weights, and whatever it is, the next stages build on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stages import dpo, parity, quantize, sft, training, weights
from tests.stages.test_sentinel import LIMITS
from tests.stages.worlds import give_identity_sft, make_world, report, write_params
from thumbwheel.bundle import bundle_hash
from thumbwheel.errors import ModelError
from thumbwheel.settings import settings

GENTLE = {"learning_rate": 0.002}


def models() -> Path:
    return settings().models


@pytest.mark.slow
def test_training_every_weight_leaves_a_whole_model_that_the_next_stages_build_on(workspace: Path) -> None:
    make_world(workspace)
    full = {"method": "full", "sentinel": LIMITS}
    write_params(workspace, sft=full, dpo=full)
    sft.main()
    dpo.main()
    quantize.main()
    for stage in ("sft", "dpo"):
        assert sorted(path.name for path in (models() / stage).iterdir()) == ["config.json", "model.safetensors"]
        assert report(workspace, stage)["validation_loss_after"] < report(workspace, stage)["validation_loss_before"]
        assert 0 < report(workspace, stage)["kl"] < 1
    base, taught, preferred = (weights.load(models() / name, "float32") for name in ("base", "sft", "dpo"))
    changed = [name for name, value in taught.state_dict().items() if not torch.equal(value, base.state_dict()[name])]
    assert len(changed) == len(base.state_dict())
    stack = weights.load(models() / "base", "float32", [models() / "sft", models() / "dpo"])
    assert all(torch.equal(value, preferred.state_dict()[name]) for name, value in stack.state_dict().items())
    assert parity.load_trained(models())[1] == []
    assert report(workspace, "quantize")["bundle"] == bundle_hash(models() / "served")


@pytest.mark.slow
def test_an_adapter_over_whole_weights_is_merged_into_them(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, sft={"method": "full"})
    sft.main()
    dpo.main()
    assert parity.load_trained(models())[1] == ["dpo"]
    stack = weights.load(models() / "base", "float32", [models() / "sft", models() / "dpo"]).state_dict()
    taught = load_file(models() / "sft" / "model.safetensors")
    moved = {name for name, value in taught.items() if not torch.equal(value, stack[name])}
    assert moved
    assert all("_proj" in name for name in moved)


@pytest.mark.slow
def test_every_weight_is_trained_over_a_merged_adapter_too(workspace: Path) -> None:
    make_world(workspace)
    give_identity_sft(workspace)
    write_params(workspace, dpo={"method": "full"})
    dpo.main()
    base = weights.load(models() / "base", "float32").state_dict()
    preferred = weights.load(models() / "dpo", "float32").state_dict()
    assert not any(torch.equal(value, base[name]) for name, value in preferred.items())
    assert parity.load_trained(models())[1] == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", [sft, dpo])
def test_an_adapter_is_learnt_over_weights_held_in_four_bits(workspace: Path, stage: Any) -> None:
    pytest.importorskip("bitsandbytes")
    make_world(workspace)
    give_identity_sft(workspace)
    name = stage.__name__.rpartition(".")[2]
    write_params(workspace, **{name: {"method": "qlora", "sentinel": LIMITS}})
    before = bundle_hash(models() / "base")
    stage.main()
    facts = report(workspace, name)
    assert facts["validation_loss_after"] < facts["validation_loss_before"]
    assert (models() / name / "adapter_model.safetensors").is_file()
    assert bundle_hash(models() / "base") == before
    assert not list(settings().state_dir.glob("merged-*"))


def test_linear_layers_in_four_bits_take_a_quarter_of_sixteen(workspace: Path) -> None:
    bits = pytest.importorskip("bitsandbytes")
    make_world(workspace)
    model = weights.load_student(models() / "base", "bfloat16", "qlora")
    layers = [layer for layer in model.modules() if isinstance(layer, bits.nn.Linear4bit)]
    assert layers
    assert all(layer.weight.numel() * 2 == layer.in_features * layer.out_features for layer in layers)


def test_a_folder_without_weights_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no weights .*dvc repro"):
        weights.weights_hash(tmp_path)


def test_the_frozen_reference_is_only_held_where_there_is_no_adapter_to_switch_off(workspace: Path) -> None:
    make_world(workspace)
    assert weights.frozen(models() / "base", "float32", "lora") is None
    copy = weights.frozen(models() / "base", "float32", "full")
    assert copy is not None
    assert not any(value.requires_grad for value in copy.parameters())
    model = training.load_model(models() / "base", "float32")
    with weights.reference(model, copy) as found:
        assert found is copy
