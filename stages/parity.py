"""Check that the bundle, under the engine that will serve it, is the model that was trained.

    python -m stages.parity

The trained model is the base with its adapters beside it, unmerged and in float32; the bundle went through merging,
quantization, saving and the engine's own loading. Both are read on the same tokens of held-out conversations.
"""

from __future__ import annotations

import asyncio
import filecmp
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from eval import parity
from eval.parity import Parity, ParityLimits, Reading, Scale, Step
from stages import templates, training, weights
from stages.answer import NAME, rank
from stages.engine_reading import Asked, Said, ask_engine
from stages.generation import greedy, log_probabilities
from stages.quantize import CARRIED
from thumbwheel import tracking
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.engine import running_engine
from thumbwheel.errors import GateError
from thumbwheel.lake import read_pinned, write_json
from thumbwheel.params import load_params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

SLOPE = 0.1
"""How far an adapter's scale is moved to either side for its slope."""
STEPS = 5
NEAR, FAR = 0.1, 3.0
"""A scale is found when it moves by less than this, and is looked for no farther than that."""


class ParityParams(ParityLimits):
    """How much is read, and the limits.

    Of `conversations` held-out ones, cut at `max_length` tokens, the answers' tokens are read with the engine's `top`
    likeliest; `answers` of their prompts are answered greedily, `answer_tokens` long.
    """

    conversations: int = Field(ge=1)
    max_length: int = Field(ge=1)
    top: int = Field(ge=1, le=20)  # the most that the engine gives
    answers: int = Field(ge=0)
    answer_tokens: int = Field(ge=1)
    seed: int
    resamples: int = Field(ge=100)


def main() -> None:
    params = load_params("parity", ParityParams)
    training.quiet()
    rows = read_pinned("split", "conversations").to_pylist()
    models, began = settings().models, time.monotonic()
    with tracking.stage_run("parity", params) as stage:
        facts = check(models, choose(rows, params), params)
        write_json(settings().reports / "parity.json", facts)
        stage.metrics({name: value for name, value in facts.items() if isinstance(value, int | float)})
        stage.metrics({"faults": len(facts["faults"]), "seconds": time.monotonic() - began})
        stage.metrics({f"scale.{name}": one["value"] for name, one in facts["scales"].items() if one is not None})
    for fault in facts["faults"]:
        log.warning("the bundle is not the model that was trained: %s", fault)
    log.info("top-1 agreement %.1f %%, divergence %.4f nats a token", 100 * facts["top1"], facts["divergence"])


def choose(conversations: Sequence[Mapping[str, Any]], params: ParityParams) -> list[Mapping[str, Any]]:
    """Return held-out conversations by a seeded hash of their ids, those of the test split first."""
    sides = {"test": 0, "validation": 1}
    held = [row for row in conversations if row["split"] in sides]
    held.sort(key=lambda row: (sides[row["split"]], rank(params.seed, str(row["id"]))))
    return held[: params.conversations]


def check(models: Path, conversations: Sequence[Mapping[str, Any]], params: ParityParams) -> dict[str, Any]:
    """Return what `parity.json` says of the bundle in `models/served`, its hash included.

    Raises:
        GateError: no held-out conversation has an answer within `max_length` tokens.
        EngineError: the engine went away, or gives no probabilities of a prompt's tokens.
    """
    asked = prepare(models, conversations, params.max_length)
    window = max(len(one.tokens) for one in asked) + params.answer_tokens + 1
    with running_engine(models / "served", NAME, window, settings().state_dir / "logs" / "parity.log") as url:
        said, answers = asyncio.run(ask_engine(url, asked, params.top, params.answers, params.answer_tokens))
    return compare(models, asked, said, answers, params)


def prepare(models: Path, conversations: Sequence[Mapping[str, Any]], limit: int) -> list[Asked]:
    """Return the conversations as training rendered them, those without an answer within `limit` tokens left out."""
    tokenizer = training.load_tokenizer(models / "base")
    asked = [one for row in conversations if (one := encode(tokenizer, row, limit)) is not None]
    if not asked:
        raise GateError(
            f"none of {len(conversations)} held-out conversations has an answer within {limit} tokens; "
            "add data, or raise parity.max_length."
        )
    return asked


def compare(
    models: Path, asked: Sequence[Asked], said: Sequence[Said], answers: Sequence[list[int]], params: ParityParams
) -> dict[str, Any]:
    """Return what `parity.json` says, by what the engine said and by the trained model in `models`."""
    model, laid = load_trained(models)
    readings = read_both(model, asked, said)
    prompts = [one.prompt for one in asked[: params.answers]]
    ours = greedy(model, prompts, params.answer_tokens) if prompts else []
    agreed = parity.agreement(ours, answers)
    found = Parity(
        conversations=len(asked),
        tokens=sum(len(one.places) for one in asked),
        top1=parity.top1(readings),
        divergence=parity.divergence(readings),
        scales=find_scales(model, laid, asked, said, params),
        answers_equal=agreed[0] if agreed else None,
        answers_prefix=agreed[1] if agreed else None,
        prompts_changed=[one.id for one, other in zip(asked, said, strict=True) if one.prompt != other.prompt],
        files_changed=changed_files(models / "base", models / "served"),
    )
    return {"bundle": bundle_hash(models / "served"), **parity.as_json(found, params)}


def encode(tokenizer: Any, row: Mapping[str, Any], limit: int) -> Asked | None:
    """Return a conversation as training renders it, None where no answer token is left within `limit` tokens."""
    messages = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
    one = templates.encode(tokenizer, templates.training_template(tokenizer), messages, limit)
    places = [i for i, label in enumerate(one["labels"]) if label != templates.IGNORED and i > 0]
    if not places:
        return None
    answer = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    prompt = tokenizer.apply_chat_template(messages[:answer], add_generation_prompt=True, return_dict=True)
    return Asked(str(row["id"]), messages[:answer], one["input_ids"], places, list(prompt["input_ids"]))


def changed_files(base: Path, served: Path) -> list[str]:
    """Return which files of tokenizer, template and generation settings differ, or are on one side only."""
    names = {path.name for folder in (base, served) for pattern in CARRIED for path in folder.glob(pattern)}
    whole = [name for name in names if (base / name).is_file() and (served / name).is_file()]
    same, _, _ = filecmp.cmpfiles(base, served, whole, shallow=False)
    return sorted(names - set(same))


def read_both(model: Any, asked: Sequence[Asked], said: Sequence[Said]) -> list[Reading]:
    """Return what both models say of each conversation's answer tokens."""
    import torch

    readings = []
    for one, served in zip(asked, said, strict=True):
        logs = log_probabilities(model, one.tokens, one.places)
        shares = numbers(logs.gather(1, torch.tensor(served.ids, device=logs.device)))
        top = logs.argmax(dim=1).cpu().numpy()
        readings.append(Reading(top, np.array(served.top), shares, np.array(served.logs)))
    return readings


def find_scales(
    model: Any, laid: Sequence[str], asked: Sequence[Asked], said: Sequence[Said], params: ParityParams
) -> dict[str, Scale | None]:  # fmt: skip
    """Return the scale at which each adapter in `laid` is present in the served model.

    It is looked for from 1 on; a bundle that is right is found at the first step. One that changes nothing has none.
    """
    found: dict[str, Scale | None] = dict.fromkeys(laid)
    at = {name: 1.0 for name in laid if changes_anything(model, name)}
    for _ in range(STEPS if at else 0):
        steps = [step(model, one, np.array(served.actual), at) for one, served in zip(asked, said, strict=True)]
        found |= parity.scales(steps, at, params, np.random.default_rng(params.seed), params.resamples)
        before = at
        at = {name: 1.0 if (one := found[name]) is None else min(max(one.value, -FAR), FAR) for name in at}
        if all(abs(at[name] - before[name]) < NEAR for name in at):
            break
    return found


def changes_anything(model: Any, adapter: str) -> bool:
    """Tell whether an adapter was trained at all: until then, one side of its products is nought."""
    from peft.tuners.lora import LoraLayer

    layers: Any = (module for module in model.modules() if isinstance(module, LoraLayer))
    return any(bool(layer.lora_B[adapter].weight.any()) for layer in layers if adapter in layer.lora_B)


def step(model: Any, asked: Asked, served: Any, at: Mapping[str, float]) -> Step:
    """Return the gap that is left with the adapters at some scales, and the slopes there by central differences."""

    def actual(moved: str | None = None, by: float = 0.0) -> Any:
        for name, scale in at.items():
            set_scale(model, name, scale + by if name == moved else scale)
        logs = log_probabilities(model, asked.tokens, asked.places)
        return numbers(logs[range(len(asked.places)), [asked.tokens[place] for place in asked.places]])

    slopes = [(actual(name, SLOPE) - actual(name, -SLOPE)) / (2 * SLOPE) for name in at]
    return Step(served - actual(), np.stack(slopes, axis=1))


def load_trained(models: Path) -> tuple[Any, list[str]]:
    """Return the trained model in float32, its adapters beside the last whole weights, unmerged, and their names."""
    from peft import PeftModel

    start, over = weights.split_at_whole(models / "base", weights.laid(models))
    model: Any = training.load_model(start, "float32")
    names = [folder.name for folder in over]
    if over:
        model = PeftModel.from_pretrained(model, over[0], names[0])
        for folder in over[1:]:
            model.load_adapter(folder, folder.name)
        model.base_model.set_adapter(names)
    return model.to(training.device()).eval(), names


def set_scale(model: Any, adapter: str, scale: float) -> None:
    """Let an adapter count `scale` times as much as it was trained to."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.set_scale(adapter, scale)


def numbers(values: Any) -> Any:
    """Return a tensor as an array of float64."""
    return values.double().cpu().numpy()


if __name__ == "__main__":
    run(main)
