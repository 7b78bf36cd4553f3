"""Thumbs without a pair teach: what was liked becomes likelier, and too few of them wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from stages import kto, parity, quantize, training, weights
from stages.sentinel import case, likelihood
from tests.stages.test_sentinel import LIMITS
from tests.stages.worlds import OPTIMISER, give_identity, liked_and_not, make_world, report, write_params
from thumbwheel.errors import ParamsError, TrainingError
from thumbwheel.settings import settings


def models() -> Path:
    return settings().models


def make_thumbs(workspace: Path, count: int = 16, **changes: Any) -> None:
    make_world(workspace, thumbs=count)
    for stage in ("sft", "dpo"):
        give_identity(workspace, stage)
    write_params(workspace, kto=changes)


def said(model: Any, liked: bool) -> float:
    """Return the mean log-probability of the replies that were liked, or of those that were not."""
    tokenizer = training.load_tokenizer(models() / "base")
    rows = [row for row in liked_and_not(16).to_pylist() if row["liked"] == liked]
    cases = [case(tokenizer, [*row["prompt"], {"role": "assistant", "content": row["reply"]}], 128) for row in rows]
    with torch.inference_mode():
        return sum(sum(likelihood(model.eval(), one)) for one in cases) / len(cases)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["kto", "apo_zero_unpaired"])
def test_liked_replies_gain_on_disliked_ones(workspace: Path, loss: str) -> None:
    make_thumbs(workspace, loss=loss, optimiser=OPTIMISER | {"epochs": 2.0, "steps": 12, "save_steps": 12})
    kto.main()
    before = weights.load(models() / "base", "float32")
    after = weights.load(models() / "base", "float32", weights.laid(models()))
    gained = {liked: said(after, liked) - said(before, liked) for liked in (True, False)}
    assert gained[True] > gained[False] + 0.5
    facts = report(workspace, "kto")
    assert (facts["liked"], facts["disliked"], facts["steps"]) == (8, 8, 12)
    assert facts["reward_liked"] > facts["reward_disliked"]


@pytest.mark.slow
def test_too_few_thumbs_wait_and_the_bundle_is_made_without_them(workspace: Path) -> None:
    make_thumbs(workspace, 4, min_examples=5)
    kto.main()
    facts = report(workspace, "kto")
    assert (facts["steps"], facts["liked"], facts["disliked"]) == (0, 2, 2)
    assert "too few" in facts["note"]
    adapter = load_file(models() / "kto" / "adapter_model.safetensors")
    assert not any(bool(value.any()) for name, value in adapter.items() if "lora_B" in name)
    quantize.main()
    assert parity.load_trained(models())[1] == ["sft", "dpo", "kto"]


@pytest.mark.slow
def test_a_run_without_any_thumb_or_with_only_liked_ones_ends_well(workspace: Path) -> None:
    make_thumbs(workspace, 0)
    kto.main()
    assert report(workspace, "kto")["steps"] == 0
    assert kto.balance(5, 0) == (1.0, 1.0)


@pytest.mark.slow
def test_every_weight_can_be_trained_and_the_sentinel_watches(workspace: Path) -> None:
    make_thumbs(workspace, method="full", sentinel=LIMITS, optimiser=OPTIMISER | {"learning_rate": 0.001})
    kto.main()
    assert report(workspace, "kto")["kl"] > 0
    assert weights.is_whole(models() / "kto")
    assert parity.load_trained(models())[1] == []


@pytest.mark.slow
def test_a_collapse_leaves_no_adapter(workspace: Path) -> None:
    ruinous = OPTIMISER | {"learning_rate": 5.0, "epochs": 2.0}
    make_thumbs(workspace, sentinel=LIMITS | {"max_kl": 0.01}, optimiser=ruinous)
    with pytest.raises(TrainingError, match="collapses at step"):
        kto.main()
    assert not (models() / "kto").exists()


def test_a_batch_of_one_has_no_reference_point_and_is_refused(workspace: Path) -> None:
    write_params(workspace, kto={"optimiser": OPTIMISER | {"batch": 1}})
    with pytest.raises(ParamsError, match="batch of 2"):
        kto.main()


@given(liked=st.integers(1, 500), disliked=st.integers(1, 500))
def test_both_sides_count_alike_and_neither_below_one(liked: int, disliked: int) -> None:
    up, down = kto.balance(liked, disliked)
    assert min(up, down) == 1.0
    assert up * liked == pytest.approx(down * disliked)
