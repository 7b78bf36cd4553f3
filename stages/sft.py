"""Teach the base model the kept conversations, by the assistant's tokens only.

    python -m stages.sft

By `sft.method` the result is an adapter or all weights anew. On several processes: `sft.launch`, or
`accelerate launch --config_file stages/accelerate/zero3.yaml -m stages.sft`.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from stages import adapters, distil, packing, private, templates, training, weights
from stages.adapters import LoraParams
from stages.checkpoints import checkpoint_folder, last_checkpoint, room
from stages.distil import DistilParams
from stages.launch import LaunchParams, spread
from stages.private import PrivacyParams
from stages.schedule import schedule
from stages.sentinel import SentinelParams, alongside, seen, watch
from stages.training import OptimiserParams
from stages.weights import Dtype, Method
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.errors import TrainingError
from thumbwheel.lake import read_pin, read_table, write_json
from thumbwheel.params import Params, load_params
from thumbwheel.records import Objective
from thumbwheel.settings import settings

log = logging.getLogger(__name__)


class SftParams(Params):
    """`max_length` in tokens; `max_validation` conversations are enough to measure the loss by.

    The chosen replies of the objectives in `demonstrations` are learnt as if they were conversations: a model learns a
    refusal from seeing one, and DPO, which only ranks, hardly teaches it.

    With `packing`, short conversations share a row of `max_length` tokens and do not see each other. `distil` names a
    teacher whose distributions are learnt in place of the tokens alone.
    """

    seed: int
    method: Method
    dtype: Dtype
    max_length: int = Field(gt=0)
    packing: bool
    max_validation: int = Field(ge=0)
    demonstrations: list[Objective]
    lora: LoraParams
    optimiser: OptimiserParams
    sentinel: SentinelParams | None
    distil: DistilParams | None
    privacy: PrivacyParams | None
    launch: LaunchParams | None

    @model_validator(mode="after")
    def _packs_what_it_can(self) -> Self:
        if self.packing and self.distil is not None:
            raise ValueError("packing and distil do not go together; turn one off")
        if self.privacy is not None and (self.method != "lora" or self.packing or self.distil or self.launch):
            raise ValueError("privacy goes with method lora in one process, without packing or distil")
        return self


def main() -> None:
    params = load_params("sft", SftParams)
    spread(params.launch, "stages.sft")
    training.quiet()
    training.keep_memory()
    tables, rows = read_pin("split").tables, read_rows(params)
    base = settings().models / "base"
    content = tables["conversations"].fingerprint + tables["preferences"].fingerprint
    teacher = distil.teacher_hash(params.distil)
    checkpoints = checkpoint_folder("sft", content, bundle_hash(base), teacher, params.model_dump())
    start = time.monotonic()
    with training.main_run("sft", params) as stage:
        if params.privacy is not None:
            facts = teach_privately(rows, base, checkpoints, params, stage)
        else:
            trainer, counts = make_trainer(rows, base, checkpoints, params, stage)
            facts = train(trainer, last_checkpoint(checkpoints)) | counts
            weights.save(trainer, settings().models / "sft")
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


def demonstrations(pairs: list[dict[str, Any]], objectives: Sequence[Objective]) -> list[dict[str, Any]]:
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


def material(
    rows: list[dict[str, Any]], tokenizer: Any, params: SftParams
) -> tuple[list[dict[str, Any]], int, list[dict[str, Any]]]:
    """Return the examples to learn from, how many conversations were none, and those to measure the loss by.

    Raises:
        TrainingError: no conversation can be trained on.
    """
    train, skipped = examples(rows, "train", tokenizer, params.max_length)
    if not train:
        raise TrainingError(
            f"no conversation to train on: {skipped} have no answer within {params.max_length} tokens, and "
            "the split handed on no others; add data, or raise sft.max_length."
        )
    return train, skipped, examples(rows, "validation", tokenizer, params.max_length)[0][: params.max_validation]


def make_trainer(
    rows: list[dict[str, Any]], base: Path, checkpoints: Path, params: SftParams, stage: Any
) -> tuple[Any, dict[str, int]]:
    """Return a trainer over the scheduled examples, and the counts of what it will see.

    Raises:
        TrainingError: no conversation can be trained on.
    """
    import numpy as np
    from datasets import Dataset

    tokenizer = training.load_tokenizer(base)
    train, skipped, validation = material(rows, tokenizer, params)
    o = params.optimiser
    rows_of = packing.pack(train, params.max_length) if params.packing else train
    order = schedule(
        [len(one["input_ids"]) for one in rows_of],
        o.epochs,
        o.batch * o.accumulation,
        o.steps,
        np.random.default_rng(params.seed),
    )
    scheduled = [rows_of[i] for i in order]
    frozen = weights.frozen(base, params.dtype, params.method) if params.sentinel else None
    student = weights.load_student(base, params.dtype, params.method)
    trainer = make_kind(params, checkpoints, bool(validation))(
        model=student,
        train_dataset=Dataset.from_list(scheduled),
        eval_dataset=Dataset.from_list(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=adapters.lora_config(params.lora, student) if params.method != "full" else None,
        callbacks=training.callbacks(stage, o, bool(validation)),
    )
    trainer.model.config.use_cache = False  # with a cache, packed conversations would see each other
    counts = {
        "conversations": len(train),
        "skipped": skipped,
        "examples_seen": sum(len(one.get("seq_lengths", (0,))) for one in scheduled),
        "rows_seen": len(order),
        "tokens_seen": sum(len(one["input_ids"]) for one in scheduled),
        "tokens_trained": sum(label != templates.IGNORED for one in scheduled for label in one["labels"]),
        "validation": len(validation),
    }
    watch(trainer, params.sentinel, first_replies(rows), tokenizer, params.max_length, stage, frozen)
    return training.without_printing(trainer), counts


def teach_privately(
    rows: list[dict[str, Any]], base: Path, checkpoints: Path, params: SftParams, stage: Any
) -> dict[str, Any]:
    """Train under differential privacy, put the adapter in its place, and return the report, what was spent first."""
    import torch
    from peft import get_peft_model

    assert params.privacy is not None
    torch.manual_seed(params.seed)
    tokenizer = training.load_tokenizer(base)
    train, skipped, validation = material(rows, tokenizer, params)
    plain = weights.load(base, params.dtype)
    model = get_peft_model(plain, adapters.lora_config(params.lora, plain)).to(training.device())
    look, told = alongside(
        model, params.sentinel, first_replies(rows), tokenizer, params.max_length, stage, checkpoints
    )
    pad = tokenizer.pad_token_id
    before = private.mean_loss(model, validation, params.optimiser.batch, pad)
    with room(checkpoints):
        facts = private.train(model, train, params.optimiser, params.privacy, pad, checkpoints, look)
    facts |= {"validation_loss_before": before}
    facts |= {"validation_loss_after": private.mean_loss(model, validation, params.optimiser.batch, pad)}
    adapters.save_in_place(model, settings().models / "sft")
    counts = {"conversations": len(train), "skipped": skipped, "validation": len(validation)}
    return facts | counts | told()


def make_kind(params: SftParams, checkpoints: Path, validates: bool) -> Callable[..., Any]:
    """Return what makes the trainer: TRL's of supervised fine-tuning, or of distillation."""
    from trl import SFTConfig, SFTTrainer

    shared = training.trainer_arguments(checkpoints, params.optimiser, params.seed, validates)
    if params.distil is not None:
        return distil.kind(params.distil, shared, params.dtype, params.max_length)
    kept_whole = {"padding_free": True, "dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}
    how = kept_whole if params.packing else {"max_length": params.max_length}
    return partial(SFTTrainer, args=SFTConfig(**shared, packing=False, **how))


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
