"""GPTQ leaves weights on their grid, and outputs nearer to the true ones than rounding each weight by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import gptq, quantize, training
from stages.quantize import QuantizeParams
from tests.fakes import tiny_model
from thumbwheel.errors import ModelError

LIMIT = 7


def step(weight: Any) -> Any:
    return weight.abs().amax(dim=1, keepdim=True) / LIMIT


def layer(seed: int, outputs: int = 12, inputs: int = 160, rows: int = 400) -> tuple[Any, Any]:
    """Return weights and inputs whose columns depend on each other, as those of a trained model do."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(inputs, inputs, generator=generator) * 0.3 + torch.eye(inputs)
    return torch.randn(outputs, inputs, generator=generator), torch.randn(rows, inputs, generator=generator) @ mixed


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), group=st.sampled_from([16, 32, 160]))
def test_weights_are_whole_multiples_of_their_step_and_outputs_are_nearer(seed: int, group: int) -> None:
    weight, inputs = layer(seed)
    done, steps = gptq.round_columns(weight, 2 * inputs.T @ inputs, group, LIMIT, step)
    assert steps.shape == (12, 160 // group)
    counts = done / steps.repeat_interleave(group, dim=1)
    assert torch.allclose(counts, counts.round(), atol=1e-4)
    assert counts.abs().max() <= LIMIT + 1.001
    own = quantize.nearest(weight, group, step).repeat_interleave(group, dim=1)
    nearest = (weight / own).round() * own
    error, other = (((w - weight) @ inputs.T).square().mean() for w in (done, nearest))
    assert error < 0.8 * other


def test_an_input_that_never_comes_is_rounded_to_what_is_nearest() -> None:
    weight, inputs = layer(1, inputs=8)
    inputs[:, 3] = 0
    done, steps = gptq.round_columns(weight, 2 * inputs.T @ inputs, 8, LIMIT, step)
    assert ((done - weight).abs()[:, 3] <= steps[:, 0] * 0.5001).all()
    assert torch.isfinite(done).all()


def params(**changes: Any) -> QuantizeParams:
    known = {"format": "w4a16", "group_size": 16, "calibration_rows": 4, "perplexity_rows": 2, "max_length": 64}
    return QuantizeParams(**known | changes)


@pytest.mark.parametrize("kind", ["w4a16", "w8a8"])
def test_calibration_keeps_a_model_nearer_to_itself_in_either_format(tmp_path: Path, kind: Any) -> None:
    tiny_model(tmp_path)
    generator = torch.Generator().manual_seed(2)
    rows = torch.randint(0, 60, (24, 48), generator=generator).tolist()
    true = training.load_model(tmp_path, "float32").eval()
    found = {}
    for known in ([], rows):
        model = training.load_model(tmp_path, "float32").eval()
        quantize.round_weights(model, known, params(format=kind))
        if kind == "w8a8":  # what the rounding of activations costs is the same for both
            for module in model.modules():
                if hasattr(module, "quantization_scheme"):
                    module.quantization_scheme.input_activations = None
        with torch.inference_mode():
            found[bool(known)] = float(
                (model(torch.tensor(rows)).logits - true(torch.tensor(rows)).logits).square().mean()
            )
    assert found[True] < 0.9 * found[False]


def test_a_group_that_does_not_divide_a_layer_is_answered_with_one_that_does(tmp_path: Path) -> None:
    tiny_model(tmp_path)
    model = training.load_model(tmp_path, "float32")
    with pytest.raises(ModelError, match=r"group_size = 24 does not divide .* width of \d+; choose \d+"):
        quantize.check_widths(model, 24)
    quantize.check_widths(model, None)
