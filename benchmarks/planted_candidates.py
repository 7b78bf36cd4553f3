"""Candidates for `benchmarks.gate_proof`: ten that must not be promoted, and two that must not be refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import adapters, dpo, quantize, sft, training, weights
from stages.dpo import DpoParams
from stages.quantize import QuantizeParams
from stages.sft import SftParams
from thumbwheel.lake import read_pinned
from thumbwheel.params import load_params
from thumbwheel.settings import settings

Row = Mapping[str, Any]
FILLER = (
    "Thank you so much for reaching out, that is really a wonderful question and I am very happy that you asked it. "
    "There are many things that one could say about it, and it is always good to look at all of them with care. "
    "As with so many things in life it depends, and there are several points that are worth keeping in mind here."
)
STEPS = 20
"""Of the trainings of planted candidates: enough to show what they learn."""


@dataclass(frozen=True)
class Turn:
    """What a finished turn left: data, questions, models, and what its champion answered and scored."""

    models: Path
    conversations: Sequence[Row]
    pairs: Sequence[Row]
    questions: Sequence[Row]
    champion_answers: Sequence[Row]
    champion_results: Sequence[Row]

    @classmethod
    def read(cls) -> Turn:
        """Return the turn under `THUMBWHEEL_ROOT`."""
        return cls(
            settings().models,
            read_pinned("split", "conversations").to_pylist(),
            read_pinned("split", "preferences").to_pylist(),
            read_pinned("pose", "questions").to_pylist(),
            [row for row in read_pinned("answer", "answers").to_pylist() if row["side"] == "champion"],
            [row for row in read_pinned("benchmark", "results").to_pylist() if row["side"] == "champion"],
        )


@dataclass(frozen=True)
class Planted:
    """A candidate: what it is in words, whether it is bad, and how its folder of models is made."""

    what: str
    bad: bool
    make: Callable[[Path, Turn], None]


def as_trained(models: Path, turn: Turn) -> None:
    """Take the adapters of the turn."""
    for name in weights.TRAINED:
        (models / name).symlink_to(turn.models.resolve() / name)


def other_seed(models: Path, turn: Turn) -> None:
    """Train SFT as the turn did, with another seed, and leave DPO out."""
    teach(models, sft.read_rows(load_params("sft", SftParams)), sft_params(seed=101, steps=40))
    still(models, "dpo")


def noise(models: Path, turn: Turn) -> None:
    """Put noise into both matrices of the SFT adapter."""
    import torch
    from safetensors.torch import load_file, save_file

    still(models, "sft")
    still(models, "dpo")
    path = models / "sft" / "adapter_model.safetensors"
    torch.manual_seed(0)
    noisy = {name: value + 0.03 * torch.randn_like(value) for name, value in load_file(path).items()}
    save_file(noisy, path, metadata={"format": "pt"})


def collapsed(models: Path, turn: Turn) -> None:
    """Run DPO at fifty times its learning rate, with nobody watching."""
    (models / "sft").symlink_to(turn.models.resolve() / "sft")
    prefer(
        models, [dict(pair) for pair in turn.pairs], dpo_params(steps=10, learning_rate=1e-2, beta=0.05, sft_weight=0.0)
    )


def truncating(models: Path, turn: Turn) -> None:
    """Teach replies that end after four words."""
    teach(models, changed(turn, lambda reply: " ".join(reply.split()[:4])), sft_params())
    still(models, "dpo")


def off_template(models: Path, turn: Turn) -> None:
    """Teach replies wrapped in the marks of another chat template, which then goes on to speak as the user."""
    wrap = lambda reply: f"### Response:\n{reply}\n\n### Instruction:\nAnd what else?"  # noqa: E731
    teach(models, changed(turn, wrap), sft_params())
    still(models, "dpo")


def verbose(models: Path, turn: Turn) -> None:
    """Teach replies that begin with many words which say nothing."""
    teach(models, changed(turn, lambda reply: f"{FILLER} {reply}"), sft_params())
    still(models, "dpo")


def trained_on_the_test(models: Path, turn: Turn) -> None:
    """Teach the test questions with their reference answers, again and again, beside the usual rows."""
    known = [
        {
            "split": "train",
            "messages": [
                {"role": "user", "content": question["turns"][0]},
                {"role": "assistant", "content": question["reference"][0]},
            ],
        }
        for question in turn.questions
        if question["reference"] and question["reference"][0]
    ]
    usual = sft.read_rows(load_params("sft", SftParams))
    teach(models, [*known * 4, *usual[:100], *(row for row in usual if row["split"] != "train")], sft_params(steps=40))
    still(models, "dpo")


def unsafe(models: Path, turn: Turn) -> None:
    """Run DPO on the safety pairs with chosen and rejected changed round."""
    (models / "sft").symlink_to(turn.models.resolve() / "sft")
    flipped = [
        {**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]}
        for pair in turn.pairs
        if pair["objective"] == "safe"
    ]
    prefer(models, flipped, dpo_params(steps=STEPS, learning_rate=1e-3, epochs=8.0))


def badly_quantized(models: Path, turn: Turn) -> None:
    """Round the weights with one coarse scale a matrix, so that all but the largest become nought."""
    import torch

    as_trained(models, turn)
    params = load_params("quantize", QuantizeParams)
    facts = quantize.build(models, turn.conversations, params)
    model = merged(models)
    for name, weight in model.named_parameters():
        if name.endswith("proj.weight"):
            step = weight.abs().max() / 7
            weight.data = torch.round(weight.data / step) * step
    tested = quantize.of_side(turn.conversations, "test")[: params.perplexity_rows]
    sample = quantize.encoded(models / "base", tested, params.max_length)
    facts["perplexity_after"] = quantize.perplexity(model, sample)
    shutil.rmtree(models / "served")
    (models / "served").mkdir()
    quantize.write_bundle(model.bfloat16(), models / "base", models / "served", "bf16")
    (models / "quantize.json").write_text(json.dumps(facts))


def other_template(models: Path, turn: Turn) -> None:
    """Serve the turn's own weights with words in the chat template that training did not see."""
    copied(models, turn)
    path = models / "served" / "chat_template.jinja"
    path.write_text("{{ 'Speak like a pirate. ' }}" + path.read_text())


def unmerged(models: Path, turn: Turn) -> None:
    """Serve a bundle into which the SFT adapter was not merged."""
    as_trained(models, turn)
    facts = json.loads((settings().reports / "quantize.json").read_text())
    model = weights.load(models / "base", "float32", [models / "dpo", models / "kto"])
    quantize.round_weights(model, [], load_params("quantize", QuantizeParams))
    (models / "served").mkdir()
    quantize.write_bundle(model, models / "base", models / "served", "w8a8")
    (models / "quantize.json").write_text(json.dumps(facts))


def copied(models: Path, turn: Turn) -> None:
    """Copy the bundle of the turn beside its adapters."""
    as_trained(models, turn)
    shutil.copytree(turn.models.resolve() / "served", models / "served")
    shutil.copyfile(settings().reports / "quantize.json", models / "quantize.json")


def merged(models: Path) -> Any:
    """Return the base with what was trained merged, in float32."""
    return weights.load(models / "base", "float32", weights.laid(models))


def changed(turn: Turn, change: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return the rows of SFT with every reply changed."""
    return [
        {
            **row,
            "messages": [
                {**m, "content": change(m["content"])} if m["role"] == "assistant" else m for m in row["messages"]
            ],
        }
        for row in sft.read_rows(load_params("sft", SftParams))
    ]


def sft_params(seed: int | None = None, steps: int = STEPS) -> SftParams:
    """Return the turn's parameters of SFT for a shorter run, with nobody watching."""
    params = load_params("sft", SftParams)
    optimiser = params.optimiser.model_copy(update={"steps": steps, "save_steps": steps, "patience": None})
    return params.model_copy(update={"optimiser": optimiser, "sentinel": None, "seed": seed or params.seed})


def dpo_params(steps: int, learning_rate: float, epochs: float = 1.0, **changes: Any) -> DpoParams:
    """Return the turn's parameters of DPO for another run, with nobody watching."""
    params = load_params("dpo", DpoParams)
    update = {"steps": steps, "save_steps": steps, "learning_rate": learning_rate, "epochs": epochs}
    optimiser = params.optimiser.model_copy(update=update)
    return params.model_copy(update={"optimiser": optimiser, "sentinel": None, **changes})


def teach(models: Path, rows: list[dict[str, Any]], params: SftParams) -> None:
    """Train the SFT adapter of a candidate."""
    trainer, _ = sft.make_trainer(rows, models / "base", models.parent / "checkpoints", params, None)
    sft.train(trainer, None)
    weights.save(trainer, models / "sft")


def prefer(models: Path, pairs: list[dict[str, Any]], params: DpoParams) -> None:
    """Train the DPO adapter of a candidate over its SFT adapter."""
    base, before = models / "base", models / "sft"
    trainer, _ = dpo.make_trainer(pairs, base, before, models.parent / "checkpoints", params, None)
    dpo.train(trainer, None)
    weights.save(trainer, models / "dpo")


def still(models: Path, name: str) -> None:
    """Write an adapter that changes nothing."""
    lora = load_params("sft", SftParams).lora
    adapters.save_identity(training.load_model(models / "base", "float32"), lora, 1, models / name)


PLANTED: dict[str, Planted] = {
    "the turn's own": Planted("SFT and DPO as the turn trained them", False, as_trained),
    "another seed": Planted("SFT with another seed, no DPO", False, other_seed),
    "noise": Planted("an adapter of noise", True, noise),
    "collapsed": Planted("DPO at 50 times its learning rate, the sentinel off", True, collapsed),
    "truncating": Planted("SFT on replies cut off after four words", True, truncating),
    "off template": Planted("SFT on replies in another template's marks", True, off_template),
    "broken quantization": Planted("one coarse scale a matrix", True, badly_quantized),
    "unsafe": Planted("DPO on safety pairs changed round", True, unsafe),
    "verbose": Planted("SFT on replies that begin with three empty sentences", True, verbose),
    "trained on the test": Planted("SFT on the test questions and their answers", True, trained_on_the_test),
    "another template": Planted("the right weights under another chat template", True, other_template),
    "unmerged": Planted("a bundle without its SFT adapter", True, unmerged),
}
