"""Weights are counted exactly, and what a training takes follows from how it is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import adapters, training
from stages.adapters import LoraParams
from stages.estimate import PACKED, Hardware, Job, Shape, estimate, operations, shape_of, weight_bytes
from stages.launch import LaunchParams
from tests.fakes import tiny_model

LORA = LoraParams(r=16, alpha=32, dropout=0.0, targets="all-linear")
JOB = Job(
    stage="sft",
    method="lora",
    dtype="bfloat16",
    lora=LORA,
    launch=None,
    batch=2,
    length=1024,
    tokens=1_000_000,
    checkpointing=True,
    watched=True,
)
EIGHT = LaunchParams(kind="zero3", processes=8)
LLAMA_8B = Shape(
    layers=32, hidden=4096, intermediate=14336, heads=32, kv_heads=8, vocabulary=128256, tied=False
)  # fmt: skip
H100 = Hardware(name="H100", devices=8, memory_gib=79, tflops=989, efficiency=0.4)


def test_the_weights_of_published_models_are_counted_exactly() -> None:
    small = Shape(layers=30, hidden=576, intermediate=1536, heads=9, kv_heads=3, vocabulary=49152, tied=True)
    assert small.weights == 134_515_008
    assert LLAMA_8B.weights == 8_030_261_248


def test_a_model_and_its_adapter_have_as_many_weights_as_the_shape_says(tmp_path: Path) -> None:
    from peft import get_peft_model

    tiny_model(tmp_path)
    shape = shape_of(tmp_path)
    assert shape is not None
    model = training.load_model(tmp_path, "float32")
    assert sum(value.numel() for value in model.parameters()) == shape.weights
    adapted = get_peft_model(model, adapters.lora_config(LORA, model))
    assert sum(value.numel() for value in adapted.parameters() if value.requires_grad) == shape.lora(16)


def test_a_family_that_would_be_counted_wrong_has_no_shape(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    assert shape_of(tmp_path) is None


def test_four_bits_take_a_quarter_of_sixteen_for_the_linear_weights_alone() -> None:
    wide, narrow = (weight_bytes(LLAMA_8B, replace(JOB, method=method)) for method in ("lora", "qlora"))
    assert wide - narrow == pytest.approx(LLAMA_8B.linear_weights * (2 - 0.516))


def test_sharing_over_eight_devices_leaves_an_eighth_of_weights_and_moments() -> None:
    alone = estimate(LLAMA_8B, replace(JOB, method="full", dtype="float32"))
    shared = estimate(LLAMA_8B, replace(JOB, method="full", dtype="float32", launch=EIGHT))
    assert shared.weights == pytest.approx(alone.weights / 8)
    assert shared.optimiser == pytest.approx(alone.optimiser / 8)
    assert shared.activations == alone.activations
    ddp = estimate(LLAMA_8B, replace(JOB, launch=LaunchParams(kind="ddp", processes=8)))
    assert ddp.gib == estimate(LLAMA_8B, JOB).gib


def test_a_reference_is_only_held_where_no_adapter_can_be_switched_off() -> None:
    assert estimate(LLAMA_8B, JOB).reference == 0
    assert estimate(LLAMA_8B, replace(JOB, stage="dpo")).reference == 0
    assert estimate(LLAMA_8B, replace(JOB, method="full", watched=False)).reference == 0
    assert estimate(LLAMA_8B, replace(JOB, method="full")).reference > 14
    assert estimate(LLAMA_8B, replace(JOB, method="full", stage="dpo", watched=False)).reference > 14


def test_full_training_does_six_operations_a_weight_and_token_beside_attention() -> None:
    job = replace(JOB, method="full", checkpointing=False, length=1)
    body = LLAMA_8B.weights - LLAMA_8B.vocabulary * LLAMA_8B.hidden
    assert operations(LLAMA_8B, job) == pytest.approx(6 * body, rel=1e-3)


@given(length=st.integers(1, 8192), batch=st.integers(1, 64))
def test_more_tokens_never_take_less(length: int, batch: int) -> None:
    small = estimate(LLAMA_8B, replace(JOB, length=length, batch=batch), H100)
    large = estimate(LLAMA_8B, replace(JOB, length=length + 1, batch=batch + 1, tokens=JOB.tokens + 1), H100)
    assert large.gib > small.gib
    assert (large.seconds or 0) > (small.seconds or 0) > 0


def test_eight_devices_are_eight_times_as_fast_where_eight_are_used() -> None:
    alone = estimate(LLAMA_8B, JOB, H100).seconds or 0
    assert estimate(LLAMA_8B, replace(JOB, launch=EIGHT), H100).seconds == pytest.approx(alone / 8)


def test_rows_that_conversations_share_take_longer_where_attention_must_keep_them_apart() -> None:
    plain, packed = (estimate(LLAMA_8B, replace(JOB, packed=shared), H100).seconds for shared in (False, True))
    assert plain is not None
    assert packed == pytest.approx(PACKED * plain)
    here = [estimate(LLAMA_8B, replace(JOB, packed=one, checkpointing=False), H100).seconds for one in (False, True)]
    assert here[0] == here[1]
