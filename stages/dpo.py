"""Teach the SFT model to prefer chosen answers; the reference is the model as SFT left it.

    python -m stages.dpo

By `dpo.method` the result is a fresh adapter or all weights anew. On several processes: `dpo.launch`, or
`accelerate launch --config_file stages/accelerate/zero3.yaml -m stages.dpo`.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from eval.statistics import exact_share, paired_bootstrap
from stages import adapters, training, weights
from stages.adapters import LoraParams
from stages.checkpoints import checkpoint_folder, last_checkpoint
from stages.launch import LaunchParams, is_main, spread
from stages.schedule import schedule
from stages.sentinel import SentinelParams, case, likelihood, seen, watch
from stages.training import OptimiserParams
from stages.weights import Dtype, Method
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.errors import TrainingError
from thumbwheel.lake import read_pin, read_pinned, write_json
from thumbwheel.params import Params, load_params
from thumbwheel.records import Objective
from thumbwheel.settings import settings

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

Loss = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sigmoid_norm",
]  # fmt: skip
Weight = Annotated[float, Field(ge=0)]
CONFIDENCE, RESAMPLES = 0.9, 2000
MEASURES = {"loss": "loss", "rewards/accuracies": "accuracy", "rewards/margins": "margin"}
"""Validation metrics by the trainer's name and by ours."""


class DpoParams(Params):
    """`loss` is TRL's name of one; `beta` holds the model to its reference; `sft_weight` mixes in the likelihood of the
    chosen answer.

    `objectives` weighs the kinds of pair: a pair is seen in proportion to its own weight times that of its objective.
    """

    seed: int
    method: Method
    dtype: Dtype
    max_length: int = Field(gt=0)
    max_validation: int = Field(ge=0)
    beta: float = Field(gt=0)
    loss: Loss
    label_smoothing: float = Field(ge=0, lt=0.5)
    """Share of pairs that are taken to be the wrong way round, by `robust` and `exo_pair`."""
    sft_weight: float = Field(ge=0)
    objectives: dict[Objective, Weight]
    lora: LoraParams
    optimiser: OptimiserParams
    sentinel: SentinelParams | None
    trade_off: list[dict[Objective, Weight]]
    """Other weights of the objectives, each trained anew for the report and not kept; none by default."""
    launch: LaunchParams | None

    @model_validator(mode="after")
    def _smooths_where_it_must(self) -> Self:
        """Refuse `exo_pair` without smoothing, which its loss divides by."""
        if self.loss == "exo_pair" and not self.label_smoothing:
            raise ValueError("loss exo_pair needs a label_smoothing above 0, such as 0.001")
        return self


def main() -> None:
    params = load_params("dpo", DpoParams)
    spread(params.launch, "stages.dpo")
    training.quiet()
    training.keep_memory()
    content = read_pin("split").tables["preferences"].fingerprint
    base, before = settings().models / "base", settings().models / "sft"
    key = (content, bundle_hash(base), weights.weights_hash(before), params.model_dump())
    checkpoints = checkpoint_folder("dpo", *key)
    start = time.monotonic()
    with training.main_run("dpo", params) as stage:
        pairs = read_pairs()
        if any(pair["split"] == "train" for pair in pairs):
            trainer, facts = make_trainer(pairs, base, before, checkpoints, params, stage)
            facts |= train(trainer, last_checkpoint(checkpoints))
            facts |= held_out(trainer, validation(pairs, params), params)
            facts |= {"trade_off": trade_off(pairs, base, before, params, key)} if params.trade_off else {}
            weights.save(trainer, settings().models / "dpo")
        else:
            log.warning("there are no preference pairs to train on; models/dpo is an adapter that changes nothing")
            model = weights.load(base, params.dtype, [before])
            facts = adapters.save_identity(model, params.lora, params.seed, settings().models / "dpo")
            facts |= {"pairs": 0, "pairs_seen": 0, "note": "no pairs: the adapter changes nothing"}
        if stage is not None:
            write_json(settings().reports / "dpo.json", facts)
            stage.metrics({name: value for name, value in facts.items() if isinstance(value, int | float)})
            stage.metrics({"seconds": time.monotonic() - start})
            shutil.rmtree(checkpoints, ignore_errors=True)
            log.info("dpo: %s", facts)


def read_pairs() -> list[dict[str, Any]]:
    """Return the pairs of all sides."""
    return list(read_pinned("split", "preferences").to_pylist())


def draw(weights: Sequence[float], size: int, rng: np.random.Generator) -> list[int]:
    """Return `size` indices, shuffled, each seen in proportion to its weight.

    Systematic resampling (Kitagawa 1996): index i comes floor or ceil of `size` times its share of the weight, so
    equal weights give every pair its turn before any comes twice.
    """
    import numpy as np

    share = np.cumsum(np.asarray(weights, dtype=float) / np.sum(weights))
    points = (np.arange(size) + rng.random()) / size
    chosen = np.minimum(np.searchsorted(share, points, side="right"), len(weights) - 1)
    return [int(i) for i in rng.permutation(chosen)]


def weight(pair: Mapping[str, Any], objectives: Mapping[Objective, float]) -> float:
    """Return how much a pair counts; an objective that `params` does not name counts nothing."""
    own = pair["weight"] if pair["weight"] is not None else 1.0
    return float(own) * float(objectives.get(pair["objective"], 0.0))


def as_dialogue(pair: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Return a pair in the trainer's conversational form."""
    return {
        "prompt": [dict(message) for message in pair["prompt"]],
        "chosen": [{"role": "assistant", "content": pair["chosen"]}],
        "rejected": [{"role": "assistant", "content": pair["rejected"]}],
    }


def make_trainer(
    pairs: list[dict[str, Any]], base: Path, before: Path, checkpoints: Path, params: DpoParams, stage: Any
) -> tuple[Any, dict[str, Any]]:
    """Return a trainer over the drawn pairs, of what SFT left in `before`, and the counts of what it will see.

    Raises:
        TrainingError: every pair's weight is zero.
    """
    import numpy as np
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rng = np.random.default_rng(params.seed)
    order, sizes = plan([p for p in pairs if p["split"] == "train"], params, rng)
    held = validation(pairs, params)
    losses: dict[str, float] = {params.loss: 1.0} | ({"sft": params.sft_weight} if params.sft_weight else {})
    tokenizer = training.load_tokenizer(base)
    student = weights.load_student(base, params.dtype, params.method, [before])
    trainer = DPOTrainer(
        model=student,
        ref_model=weights.frozen(base, params.dtype, params.method, [before]),
        args=DPOConfig(
            **training.trainer_arguments(checkpoints, params.optimiser, params.seed, bool(held)),
            max_length=params.max_length,
            beta=params.beta,
            label_smoothing=params.label_smoothing,
            loss_type=list(losses),
            loss_weights=list(losses.values()),
        ),
        train_dataset=Dataset.from_list([as_dialogue(pair) for pair in order]),
        eval_dataset=Dataset.from_list([as_dialogue(pair) for pair in held]) if held else None,
        processing_class=tokenizer,
        peft_config=adapters.lora_config(params.lora, student) if params.method != "full" else None,
        callbacks=training.callbacks(stage, params.optimiser, bool(held)),
    )
    shown = [dialogue(pair, "chosen") for pair in held or order]
    watch(trainer, params.sentinel, shown, tokenizer, params.max_length, stage, trainer.ref_model)
    return training.without_printing(trainer), sizes | {"validation": len(held)}


def validation(pairs: Sequence[Mapping[str, Any]], params: DpoParams) -> list[Mapping[str, Any]]:
    """Return the pairs that are held out."""
    return [pair for pair in pairs if pair["split"] == "validation"][: params.max_validation]


def plan(
    pairs: list[dict[str, Any]], params: DpoParams, rng: np.random.Generator
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the pairs in the order in which they are seen, and the counts of pairs by objective.

    Raises:
        TrainingError: every pair's weight is zero.
    """
    weights = [weight(pair, params.objectives) for pair in pairs]
    if not any(weights):
        raise TrainingError(
            f"all {len(pairs)} pairs weigh nothing: dpo.objectives are {params.objectives}, "
            f"the pairs have {', '.join(sorted({pair['objective'] for pair in pairs}))}."
        )
    drawn = [pairs[i] for i in draw(weights, math.ceil(params.optimiser.epochs * len(pairs)), rng)]
    o = params.optimiser
    lengths = [len(p["chosen"]) + len(p["rejected"]) + sum(len(m["content"]) for m in p["prompt"]) for p in drawn]
    order = schedule(lengths, 1.0, o.batch * o.accumulation, o.steps, rng)
    seen = [drawn[i] for i in order]
    counts = Counter(pair["objective"] for pair in seen)
    return seen, {"pairs": len(pairs), "pairs_seen": len(seen)} | {f"seen_{k}": n for k, n in sorted(counts.items())}


def train(trainer: Any, checkpoint: str | None) -> dict[str, Any]:
    """Train, from `checkpoint` on where there is one, and return the losses, accuracy and margin."""
    before, after = training.fit(trainer, checkpoint)
    return (
        training.curve(trainer.state.log_history)
        | {f"validation_{ours}_before": training.rounded(before.get(theirs)) for theirs, ours in MEASURES.items()}
        | {f"validation_{ours}_after": training.rounded(after.get(theirs)) for theirs, ours in MEASURES.items()}
        | {"steps": trainer.state.global_step}
        | training.kept(trainer)
        | seen(trainer)
    )


def dialogue(pair: Mapping[str, Any], side: str) -> list[dict[str, str]]:
    """Return the prompt of a pair with one of its replies."""
    return [
        *({"role": m["role"], "content": m["content"]} for m in pair["prompt"]),
        {"role": "assistant", "content": pair[side]},
    ]


def trade_off(
    pairs: list[dict[str, Any]], base: Path, before: Path, params: DpoParams, key: Sequence[Any]
) -> list[dict[str, Any]]:
    """Return what other weights of the objectives would have given on the held-out pairs, each from a training anew.

    `key` is what the checkpoints depend on besides the weights.
    """
    found: list[dict[str, Any]] = []
    for mix in params.trade_off:
        other = params.model_copy(update={"objectives": mix, "trade_off": []})
        folder = checkpoint_folder("dpo-trade-off", *key, mix)
        trainer, _ = make_trainer(pairs, base, before, folder, other, None)
        try:
            train(trainer, last_checkpoint(folder))
            facts = held_out(trainer, validation(pairs, other), other) | seen(trainer)
        except TrainingError as error:
            facts = {"stopped": str(error)}
        found.append({"objectives": mix, **facts})
        if is_main():
            shutil.rmtree(folder, ignore_errors=True)
    return found


def held_out(trainer: Any, pairs: Sequence[Mapping[str, Any]], params: DpoParams) -> dict[str, Any]:
    """Return, for each objective, how many held-out pairs are ranked right and by what margin, with 90 % intervals.

    A margin is `beta` times how much farther the chosen reply moved from the reference than the rejected one, in nats.
    """
    import numpy as np

    model, tokenizer = trainer.model.eval(), trainer.processing_class
    margins: dict[str, list[float]] = {}
    for pair in pairs:
        moved = []
        for side in ("chosen", "rejected"):
            one = case(tokenizer, dialogue(pair, side), params.max_length)
            now = sum(likelihood(model, one))
            with weights.reference(model, trainer.ref_model) as reference:
                moved.append(now - sum(likelihood(reference, one)))
        margins.setdefault(pair["objective"], []).append(params.beta * (moved[0] - moved[1]))
    facts: dict[str, Any] = {}
    for objective, values in sorted(margins.items()):
        right = exact_share(sum(value > 0 for value in values), len(values), CONFIDENCE)
        margin = paired_bootstrap(values, np.random.default_rng(params.seed), RESAMPLES, CONFIDENCE)
        facts[f"{objective}_pairs"] = len(values)
        for name, found in (("accuracy", right), ("margin", margin)):
            facts |= {f"{objective}_{name}": training.rounded(found.mean)}
            told = len(values) > 1 or name == "accuracy"  # one margin alone tells nothing of their spread
            for end in ("low", "high"):
                facts[f"{objective}_{name}_{end}"] = training.rounded(getattr(found, end)) if told else None
    return facts


if __name__ == "__main__":
    run(main)
