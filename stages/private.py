"""SFT under differential privacy: no single conversation can be made out in the adapter (DP-SGD, Abadi et al. 2016).

Each conversation's gradient is clipped before they are added up, and Gaussian noise is laid over the sum; Opacus does
both and counts what has been spent. Which conversations a step sees, and the noise, come from the system's entropy: a
seed that stands in `params.yaml` would undo the promise. So two trainings give two adapters. The report's losses are
measured without noise, and are not covered.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from stages import training
from stages.checkpoints import PRIVATE_FILE
from stages.templates import IGNORED
from stages.training import OptimiserParams
from thumbwheel.errors import TrainingError
from thumbwheel.params import Params

log = logging.getLogger(__name__)

Example = Mapping[str, Sequence[int]]


class PrivacyParams(Params):
    """What may be spent: `epsilon` and `delta` bound what anybody can learn of whether a conversation was there.

    `clip` is the largest norm of a conversation's gradient that counts. Neighbours are training sets that differ in one
    conversation, not in one user.
    """

    epsilon: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    clip: float = Field(gt=0)


@dataclass(frozen=True)
class Plan:
    """How a private training goes: a conversation's chance to be in a step, the steps, the noise and what it costs."""

    rate: float
    steps: int
    noise: float
    epsilon: float


def plan(examples: int, optimiser: OptimiserParams, privacy: PrivacyParams) -> Plan:
    """Return the plan that spends the budget, by the accountant of Rényi differential privacy (Mironov 2017).

    Raises:
        TrainingError: no noise within reason keeps to so small a budget.
    """
    from opacus.accountants import RDPAccountant
    from opacus.accountants.utils import get_noise_multiplier

    rate = min(1.0, optimiser.batch * optimiser.accumulation / examples)
    steps = max(1, min(optimiser.steps, math.ceil(optimiser.epochs / rate)))
    try:
        noise = get_noise_multiplier(
            target_epsilon=privacy.epsilon, target_delta=privacy.delta, sample_rate=rate, steps=steps, accountant="rdp"
        )
    except ValueError as error:
        raise TrainingError(
            f"sft.privacy: {steps} steps over {examples} conversations cannot keep to epsilon {privacy.epsilon:g} "
            f"({error}); raise it, or take fewer steps or more data."
        ) from None
    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    return Plan(rate, steps, noise, accountant.get_epsilon(privacy.delta))


def train(
    model: Any,
    examples: Sequence[Example],
    optimiser: OptimiserParams,
    privacy: PrivacyParams,
    pad: int,
    folder: Path,
    watch: Callable[[int], None],
) -> dict[str, Any]:
    """Train the adapter of a PEFT model in place and return what was spent; a killed run goes on from `folder`.

    `watch` is called with the step before each checkpoint is written.

    Raises:
        TrainingError: the loss is not a number, or the budget cannot be kept.
    """
    import torch
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer
    from transformers import get_scheduler

    found = plan(len(examples), optimiser, privacy)
    own = [value for value in model.parameters() if value.requires_grad]
    inner = torch.optim.AdamW(own, lr=optimiser.learning_rate, weight_decay=optimiser.weight_decay)
    noise = torch.Generator(device=own[0].device).manual_seed(secrets.randbits(63))
    outer = DPOptimizer(
        inner,
        noise_multiplier=found.noise,
        max_grad_norm=privacy.clip,
        expected_batch_size=max(1, round(found.rate * len(examples))),
        generator=noise,
    )
    warmup = round(optimiser.warmup * found.steps)
    schedule = get_scheduler(optimiser.schedule, inner, warmup, found.steps)
    start = _restore(folder, own, inner, schedule)
    wrapped, losses, said = GradSampleModule(model, loss_reduction="sum"), [], time.monotonic()
    for step in range(start + 1, found.steps + 1):
        wrapped.train()
        losses.append(_step(wrapped, outer, own, _drawn(examples, found.rate), optimiser.batch, pad))
        schedule.step()
        training.refuse_nan({"loss": losses[-1]} if losses[-1] is not None else {}, step)
        if time.monotonic() - said > training.LOG_SECONDS:
            said = time.monotonic()
            log.info("step %d of %d: loss %.4f", step, found.steps, losses[-1] or math.nan)
        if step % optimiser.save_steps == 0 or step == found.steps:
            watch(step)
            _keep(folder, step, own, inner, schedule)
    wrapped.to_standard_module()
    known = [loss for loss in losses if loss is not None]
    return {
        "epsilon": training.rounded(found.epsilon),
        "delta": privacy.delta,
        "noise": training.rounded(found.noise),
        "clip": privacy.clip,
        "train_loss_first": training.rounded(known[0]) if known else None,
        "train_loss_last": training.rounded(known[-1]) if known else None,
        "steps": found.steps,
    }


def _drawn(examples: Sequence[Example], rate: float) -> list[Example]:
    """Return a Poisson sample: each example is in it by its own chance, as the accountant supposes."""
    source = secrets.SystemRandom()
    return [one for one in examples if source.random() < rate]


def _step(model: Any, outer: Any, own: Sequence[Any], drawn: Sequence[Example], at_once: int, pad: int) -> float | None:
    """Take a step over a sample, `at_once` in memory, and return its mean loss; None where nobody was drawn."""
    import torch

    total = 0.0
    for first in range(0, len(drawn), at_once):
        part = drawn[first : first + at_once]
        loss = losses(model, part, pad).sum()
        loss.backward()
        total += float(loss.detach())
        if first + at_once < len(drawn):
            outer.signal_skip_step(True)
            outer.step()
            outer.zero_grad()
    if not drawn:  # the noise is due all the same: that nobody was there is a secret too
        for value in own:
            value.grad_sample = torch.zeros(0, *value.shape, device=value.device)
    outer.step()
    outer.zero_grad()
    return total / len(drawn) if drawn else None


def losses(model: Any, examples: Sequence[Example], pad: int) -> Any:
    """Return the mean negative log-likelihood of each example's answer tokens, in nats: (examples,)."""
    import torch

    width = max(len(one["input_ids"]) for one in examples)
    place = next(model.parameters()).device

    def padded(name: str, fill: int) -> Any:
        return torch.tensor([[*one[name], *[fill] * (width - len(one[name]))] for one in examples], device=place)

    ids, labels = padded("input_ids", pad), padded("labels", IGNORED)
    seen = torch.tensor([[1] * len(one["input_ids"]) + [0] * (width - len(one["input_ids"])) for one in examples])
    logits = model(input_ids=ids, attention_mask=seen.to(place), use_cache=False).logits[:, :-1].float()
    each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none")
    counts = (labels[:, 1:] != IGNORED).sum(dim=1).clamp(min=1)
    return each.sum(dim=1) / counts


def mean_loss(model: Any, examples: Sequence[Example], at_once: int, pad: int) -> float | None:
    """Return the mean over examples of their losses; None without any."""
    import torch

    model.eval()
    with torch.inference_mode():
        parts = [losses(model, examples[i : i + at_once], pad) for i in range(0, len(examples), at_once)]
    return training.rounded(float(torch.cat(parts).mean())) if parts else None


def _keep(folder: Path, step: int, own: Sequence[Any], inner: Any, schedule: Any) -> None:
    """Write a checkpoint in one step; a kill leaves the one before."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    state = {"step": step, "own": [value.detach().cpu() for value in own]}
    state |= {"inner": inner.state_dict(), "schedule": schedule.state_dict()}
    part = folder / f".{PRIVATE_FILE}.part"
    torch.save(state, part)
    os.replace(part, folder / PRIVATE_FILE)


def _restore(folder: Path, own: Sequence[Any], inner: Any, schedule: Any) -> int:
    """Take up the checkpoint in `folder` and return its step; 0 without one."""
    import torch

    path = folder / PRIVATE_FILE
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    for value, kept in zip(own, state["own"], strict=True):
        value.data.copy_(kept)
    inner.load_state_dict(state["inner"])
    schedule.load_state_dict(state["schedule"])
    log.info("resuming from step %d", state["step"])
    return int(state["step"])
