"""Learn from thumbs that no pair could be made of: liked replies become likelier, disliked ones less likely (KTO).

    python -m stages.kto

Kahneman-Tversky optimization (Ethayarajh et al. 2024) asks for no pairs, and for more examples than DPO: fewer than
`kto.min_examples` are left for a later turn, and the stage leaves an adapter that changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from stages import adapters, sft, training, weights
from stages.adapters import LoraParams
from stages.checkpoints import checkpoint_folder, last_checkpoint
from stages.launch import LaunchParams, spread
from stages.schedule import schedule
from stages.sentinel import SentinelParams, case, likelihood, seen, watch
from stages.training import OptimiserParams
from stages.weights import Dtype, Method
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.lake import read_pin, read_pinned, write_json
from thumbwheel.params import Params, load_params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)


class KtoParams(Params):
    """`loss` is TRL's name of one; `beta` holds the model to its reference, which is the model that DPO left."""

    seed: int
    method: Method
    dtype: Dtype
    max_length: int = Field(gt=0)
    min_examples: int = Field(ge=1)
    loss: Literal["kto", "apo_zero_unpaired"]
    beta: float = Field(gt=0)
    lora: LoraParams
    optimiser: OptimiserParams
    sentinel: SentinelParams | None
    launch: LaunchParams | None

    @model_validator(mode="after")
    def _has_others_in_its_batch(self) -> Self:
        """Refuse a batch of one: its reference point is what replies of one row are worth after prompts of another."""
        if self.loss == "kto" and self.optimiser.batch < 2:
            raise ValueError("loss kto needs an optimiser.batch of 2 or more")
        return self


def main() -> None:
    params = load_params("kto", KtoParams)
    spread(params.launch, "stages.kto")
    training.quiet()
    training.keep_memory()
    models, start = settings().models, time.monotonic()
    base, before = models / "base", [models / "sft", models / "dpo"]
    thumbs = read_pinned("split", "unpaired").to_pylist()
    with training.main_run("kto", params) as stage:
        if len(thumbs) < params.min_examples:
            log.info("%d thumbs without a pair are fewer than kto.min_examples; nothing is learnt", len(thumbs))
            model = weights.load(base, params.dtype, before)
            facts = adapters.save_identity(model, params.lora, params.seed, models / "kto")
            facts |= counts(thumbs) | {"note": "too few: the adapter changes nothing"}
            checkpoints = None
        else:
            content = read_pin("split").tables["unpaired"].fingerprint
            key = (content, bundle_hash(base), *map(weights.weights_hash, before), params.model_dump())
            checkpoints = checkpoint_folder("kto", *key)
            trainer = make_trainer(thumbs, base, before, checkpoints, params, stage)
            facts = train(trainer, last_checkpoint(checkpoints)) | counts(thumbs)
            weights.save(trainer, models / "kto")
        if stage is not None:
            write_json(settings().reports / "kto.json", facts)
            stage.metrics({name: value for name, value in facts.items() if isinstance(value, int | float)})
            stage.metrics({"seconds": time.monotonic() - start})
            if checkpoints is not None:
                shutil.rmtree(checkpoints, ignore_errors=True)
            log.info("kto: %s", facts)


def counts(thumbs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many replies were liked, and how many disliked."""
    liked = sum(bool(one["liked"]) for one in thumbs)
    return {"liked": liked, "disliked": len(thumbs) - liked}


def balance(liked: int, disliked: int) -> tuple[float, float]:
    """Return the weights of liked and of disliked replies that make both sides count alike (Eq. 8 of the paper)."""
    if not liked or not disliked:
        return 1.0, 1.0
    return max(1.0, disliked / liked), max(1.0, liked / disliked)


def put_aside(thumbs: Sequence[Mapping[str, Any]], seed: int) -> tuple[list[Any], list[Any]]:
    """Return the thumbs to learn from, and one in five by a hash of its id, to try what was learnt on."""
    marks = [hashlib.sha256(f"{seed}:{one['id']}".encode()).digest()[0] % 5 == 0 for one in thumbs]
    sides = [[one for one, mark in zip(thumbs, marks, strict=True) if mark is aside] for aside in (False, True)]
    return sides[0], sides[1]


def as_dialogue(thumb: Mapping[str, Any]) -> dict[str, Any]:
    """Return a thumb in the trainer's conversational form."""
    return {
        "prompt": [{"role": m["role"], "content": m["content"]} for m in thumb["prompt"]],
        "completion": [{"role": "assistant", "content": thumb["reply"]}],
        "label": bool(thumb["liked"]),
    }


def make_trainer(
    thumbs: Sequence[Mapping[str, Any]],
    base: Path,
    before: Sequence[Path],
    checkpoints: Path,
    params: KtoParams,
    stage: Any,
) -> Any:
    """Return a trainer over the thumbs, of the model that the stages in `before` left."""
    import numpy as np
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    o, tokenizer = params.optimiser, training.load_tokenizer(base)
    lengths = [len(one["reply"]) + sum(len(m["content"]) for m in one["prompt"]) for one in thumbs]
    rng = np.random.default_rng(params.seed)
    order = schedule(lengths, o.epochs, o.batch * o.accumulation, o.steps, rng)
    desirable, undesirable = balance(*counts(thumbs).values())
    student = weights.load_student(base, params.dtype, params.method, before)
    trainer = KTOTrainer(
        model=student,
        ref_model=weights.frozen(base, params.dtype, params.method, before),
        args=KTOConfig(
            **training.trainer_arguments(checkpoints, o, params.seed, validates=False),
            max_length=params.max_length,
            beta=params.beta,
            loss_type=params.loss,
            desirable_weight=desirable,
            undesirable_weight=undesirable,
        ),
        train_dataset=Dataset.from_list([as_dialogue(thumbs[i]) for i in order]),
        processing_class=tokenizer,
        peft_config=adapters.lora_config(params.lora, student) if params.method != "full" else None,
        callbacks=training.callbacks(stage, o, validates=False),
    )
    shown = sft.first_replies(read_pinned("split", "conversations").to_pylist())
    watch(trainer, params.sentinel, shown, tokenizer, params.max_length, stage, trainer.ref_model)
    return training.without_printing(trainer)


def train(trainer: Any, checkpoint: str | None) -> dict[str, Any]:
    """Train, from `checkpoint` on where there is one, and return the loss and how far the replies moved apart.

    `reward_liked` and `reward_disliked` are `beta` times how much likelier than the reference's, in nats, replies of
    either side were when the loss was last logged.
    """
    training.fit(trainer, checkpoint)
    names = {"rewards/chosen": "reward_liked", "rewards/rejected": "reward_disliked", "kl": "reference_kl"}
    history = trainer.state.log_history
    last = {ours: entry[theirs] for entry in history for theirs, ours in names.items() if theirs in entry}
    rewards = {name: training.rounded(value) for name, value in last.items()}
    return training.curve(history) | rewards | {"steps": trainer.state.global_step} | seen(trainer)


def held_out(trainer: Any, thumbs: Sequence[Mapping[str, Any]], params: KtoParams) -> dict[str, Any]:
    """Return how far replies that were not learnt from moved from the reference, liked ones and others.

    `held_out_margin` is by how much farther the liked ones moved, `beta` times the mean in nats; `held_out_order` is
    how often a liked one moved farther than one that was not.
    """
    model, tokenizer = trainer.model.eval(), trainer.processing_class
    moved: dict[bool, list[float]] = {True: [], False: []}
    for thumb in thumbs:
        dialogue = [message for part in ("prompt", "completion") for message in as_dialogue(thumb)[part]]
        one = case(tokenizer, dialogue, params.max_length)
        now = sum(likelihood(model, one))
        with weights.reference(model, trainer.ref_model) as reference:
            moved[bool(thumb["liked"])].append(params.beta * (now - sum(likelihood(reference, one))))
    liked, disliked = moved[True], moved[False]
    ordered = [(a > b) + (a == b) / 2 for a in liked for b in disliked]
    return {
        "held_out": len(thumbs),
        "held_out_margin": training.rounded(sum(liked) / len(liked) - sum(disliked) / len(disliked)),
        "held_out_order": training.rounded(sum(ordered) / len(ordered)),
    }


if __name__ == "__main__":
    run(main)
