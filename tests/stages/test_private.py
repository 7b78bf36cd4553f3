"""Under differential privacy each conversation counts at most so much, the noise is there, and the budget is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stages import adapters, private, register, sft, training, weights
from stages.private import PrivacyParams
from stages.training import OptimiserParams
from tests.stages.test_sentinel import LIMITS
from tests.stages.worlds import LORA, OPTIMISER, make_world, report, write_params
from thumbwheel.errors import ParamsError, TrainingError
from thumbwheel.params import load_params
from thumbwheel.settings import settings

BUDGET = {"epsilon": 8.0, "delta": 1e-5, "clip": 1.0}
FAST = OptimiserParams(**OPTIMISER)


def test_the_plan_spends_the_budget_and_no_more() -> None:
    found = private.plan(1000, FAST.model_copy(update={"batch": 16, "steps": 50}), PrivacyParams(**BUDGET))
    assert found.rate == 0.016
    assert found.steps == 50
    assert 7.0 < found.epsilon <= 8.0


def test_a_smaller_budget_costs_more_noise() -> None:
    strict, loose = (private.plan(1000, FAST, PrivacyParams(**BUDGET | {"epsilon": e})) for e in (0.5, 8.0))
    assert strict.noise > loose.noise
    assert strict.epsilon <= 0.5


def a_model(workspace: Path) -> Any:
    from peft import get_peft_model

    torch.manual_seed(1)
    base = weights.load(settings().models / "base", "float32")
    return get_peft_model(base, adapters.lora_config(adapters.LoraParams(**LORA), base))


def some(workspace: Path) -> list[dict[str, Any]]:
    make_world(workspace)
    params, tokenizer = load_params("sft", sft.SftParams), training.load_tokenizer(settings().models / "base")
    return sft.material(sft.read_rows(params), tokenizer, params)[0]


def gradients(workspace: Path, examples: list[dict[str, Any]], clip: float, at_once: int) -> Any:
    """Return the gradient of a step without noise, flat; the expected batch is one example."""
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    model = a_model(workspace)
    own = [value for value in model.parameters() if value.requires_grad]
    for value in own:
        value.data += 0.01
    kept: list[Any] = []
    outer = DPOptimizer(torch.optim.SGD(own, lr=0.0), noise_multiplier=0.0, max_grad_norm=clip, expected_batch_size=1)
    outer.attach_step_hook(lambda _: kept.append(torch.cat([value.grad.flatten().clone() for value in own])))
    private._step(GradSampleModule(model.train(), loss_reduction="sum"), outer, own, examples, at_once, 0)
    return kept[0]


@pytest.mark.slow
def test_without_noise_or_clipping_a_step_has_the_plain_gradient_however_it_is_cut(workspace: Path) -> None:
    examples = some(workspace)[:3]
    whole, cut = (gradients(workspace, examples, 1e9, at_once) for at_once in (3, 2))
    model = a_model(workspace)
    own = [value for value in model.parameters() if value.requires_grad]
    for value in own:
        value.data += 0.01
    private.losses(model.train(), examples, 0).sum().backward()
    plain = torch.cat([value.grad.flatten() for value in own])
    assert torch.allclose(whole, plain, atol=1e-5)
    assert torch.allclose(cut, plain, atol=1e-5)


@pytest.mark.slow
def test_no_conversation_counts_more_than_the_clip(workspace: Path) -> None:
    examples = some(workspace)
    without, with_one = (gradients(workspace, examples[:n], 0.001, 4) for n in (3, 4))
    assert float((with_one - without).norm()) <= 0.001 + 1e-6
    assert float(gradients(workspace, examples[:1], 1e9, 4).norm()) > 0.01


@pytest.mark.slow
def test_a_step_in_which_nobody_was_drawn_adds_noise_all_the_same(workspace: Path) -> None:
    some(workspace)
    assert not gradients(workspace, [], 1.0, 4).any()


@pytest.mark.slow
def test_the_stage_reports_what_was_spent_and_leaves_an_adapter_that_learnt(workspace: Path) -> None:
    make_world(workspace)
    easy = BUDGET | {"epsilon": 1000.0}
    write_params(workspace, sft={"privacy": easy, "sentinel": LIMITS, "optimiser": OPTIMISER | {"epochs": 2.0}})
    sft.main()
    facts = report(workspace, "sft")
    assert 0 < facts["epsilon"] <= 1000.0
    assert register.privacy() == {
        "privacy": f"epsilon {facts['epsilon']:.3g} at delta 1e-05, of a conversation; pairs are not covered"
    }
    assert facts["validation_loss_after"] < facts["validation_loss_before"]
    assert facts["kl"] > 0
    names = sorted(path.name for path in (settings().models / "sft").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_checkpoint(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples, budget = some(workspace), PrivacyParams(**BUDGET)
    optimiser = FAST.model_copy(update={"save_steps": 2, "steps": 6})

    def killed(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        private.train(a_model(workspace), examples, optimiser, budget, 0, workspace / "kept", killed)
    seen: list[int] = []
    model = a_model(workspace)
    private.train(model, examples, optimiser, budget, 0, workspace / "kept", seen.append)
    assert seen == [4, 6]


def test_a_budget_that_no_noise_can_keep_is_refused_with_what_to_do() -> None:
    with pytest.raises(TrainingError, match=r"cannot keep to epsilon 1e-09 .*raise it"):
        private.plan(10, FAST, PrivacyParams(**BUDGET | {"epsilon": 1e-9}))


def test_privacy_with_what_would_undo_it_is_refused_in_one_line(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, sft={"privacy": BUDGET, "packing": True})
    with pytest.raises(ParamsError, match="privacy goes with method lora in one process"):
        load_params("sft", sft.SftParams)
