"""Teach the base model the kept conversations: a LoRA adapter, trained on the assistant's tokens only.

    python -m stages.sft

On several processes: `accelerate launch --config_file stages/accelerate/zero3.yaml -m stages.sft`.
"""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from stages import adapters, templates, training
from stages.adapters import LoraParams
from stages.sentinel import SentinelParams, seen, watch
from stages.training import OptimiserParams
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.errors import TrainingError
from thumbwheel.lake import read_pin, read_table, write_json
from thumbwheel.params import Params, load_params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)


class SftParams(Params):
    """`max_length` in tokens; `max_validation` conversations are enough to measure the loss by.

    The chosen replies of the objectives in `demonstrations` are learnt as if they were conversations: a model learns a
    refusal from seeing one, and DPO, which only ranks, hardly teaches it.
    """

    seed: int
    dtype: str
    max_length: int
    max_validation: int
    demonstrations: list[str]
    lora: LoraParams
    optimiser: OptimiserParams
    sentinel: SentinelParams | None


def main() -> None:
    params = load_params("sft", SftParams)
    training.quiet()
    training.keep_memory()
    tables, rows = read_pin("split").tables, read_rows(params)
    base = settings().models / "base"
    content = tables["conversations"].fingerprint + tables["preferences"].fingerprint
    checkpoints = training.checkpoint_folder("sft", content, bundle_hash(base), params.model_dump())
    start = time.monotonic()
    with training.main_run("sft", params) as stage:
        trainer, counts = make_trainer(rows, base, checkpoints, params, stage)
        facts = train(trainer, training.last_checkpoint(checkpoints)) | counts
        adapters.save_adapter(trainer, settings().models / "sft")
        if stage is not None:
            write_json(settings().reports / "sft.json", facts)
            stage.metrics({name: value for name, value in facts.items() if value is not None})
            stage.metrics({"seconds": time.monotonic() - start})
            shutil.rmtree(checkpoints, ignore_errors=True)
            log.info("sft: %s", facts)


def read_rows(params: SftParams) -> list[dict[str, Any]]:
    """Return what is learnt from: the conversations of all sides, and the demonstrations."""
    tables = read_pin("split").tables
    shown = demonstrations(read_table(tables["preferences"]).to_pylist(), params.demonstrations)
    return list(read_table(tables["conversations"]).to_pylist()) + shown


def demonstrations(pairs: list[dict[str, Any]], objectives: list[str]) -> list[dict[str, Any]]:
    """Return the chosen replies of the training pairs of some objectives, as rows like those of conversations."""
    return [
        {"messages": [*pair["prompt"], {"role": "assistant", "content": pair["chosen"]}], "split": "train"}
        for pair in pairs
        if pair["split"] == "train" and pair["objective"] in objectives
    ]


def examples(rows: list[dict[str, Any]], split: str, tokenizer: Any, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Return the encoded conversations of a split, and how many held no answer within `limit` tokens."""
    template = templates.training_template(tokenizer)
    encoded = [templates.encode(tokenizer, template, row["messages"], limit) for row in rows if row["split"] == split]
    usable = [one for one in encoded if any(label != templates.IGNORED for label in one["labels"])]
    return usable, len(encoded) - len(usable)


def make_trainer(
    rows: list[dict[str, Any]], base: Path, checkpoints: Path, params: SftParams, stage: Any
) -> tuple[Any, dict[str, int]]:
    """Return a trainer over the scheduled examples, and the counts of what it will see.

    Raises:
        TrainingError: no conversation can be trained on.
    """
    import numpy as np
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    tokenizer = training.load_tokenizer(base)
    train, skipped = examples(rows, "train", tokenizer, params.max_length)
    validation, _ = examples(rows, "validation", tokenizer, params.max_length)
    if not train:
        raise TrainingError(
            f"no conversation to train on: {skipped} have no answer within {params.max_length} tokens, and "
            "the split handed on no others; add data, or raise sft.max_length."
        )
    o = params.optimiser
    order = training.schedule(
        [len(one["input_ids"]) for one in train],
        o.epochs,
        o.batch * o.accumulation,
        o.steps,
        np.random.default_rng(params.seed),
    )
    scheduled = [train[i] for i in order]
    validation = validation[: params.max_validation]
    trainer = SFTTrainer(
        model=training.load_model(base, params.dtype),
        args=SFTConfig(
            **training.trainer_arguments(checkpoints, o, params.seed, bool(validation)),
            max_length=params.max_length,
            packing=False,
        ),
        train_dataset=Dataset.from_list(scheduled),
        eval_dataset=Dataset.from_list(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=adapters.lora_config(params.lora),
        callbacks=training.callbacks(stage, o, bool(validation)),
    )
    counts = {
        "conversations": len(train),
        "skipped": skipped,
        "examples_seen": len(order),
        "tokens_seen": sum(len(one["input_ids"]) for one in scheduled),
        "tokens_trained": sum(label != templates.IGNORED for one in scheduled for label in one["labels"]),
        "validation": len(validation),
    }
    watch(trainer, params.sentinel, first_replies(rows), tokenizer, params.max_length, stage)
    return training.without_printing(trainer), counts


def first_replies(rows: list[dict[str, Any]]) -> list[list[dict[str, str]]]:
    """Return the held-out conversations up to their first reply, or those of training where none is held out."""
    found: dict[str, list[list[dict[str, str]]]] = {"validation": [], "train": []}
    for row in rows:
        answer = next((i for i, message in enumerate(row["messages"]) if message["role"] == "assistant"), None)
        if answer and row["split"] in found:
            found[row["split"]].append(row["messages"][: answer + 1])
    return found["validation"] or found["train"]


def train(trainer: Any, checkpoint: str | None) -> dict[str, Any]:
    """Train, from `checkpoint` on where there is one, and return the losses around it."""
    before, after = training.fit(trainer, checkpoint)
    return {
        **training.curve(trainer.state.log_history),
        "validation_loss_before": training.rounded(before.get("loss")),
        "validation_loss_after": training.rounded(after.get("loss")),
        "steps": trainer.state.global_step,
        **training.kept(trainer),
        **seen(trainer),
    }


if __name__ == "__main__":
    run(main)
