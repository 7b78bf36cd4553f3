"""Distillation: the student learns the teacher's whole distribution at each token of an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from stages import training
from stages.templates import IGNORED
from thumbwheel.bundle import bundle_hash
from thumbwheel.errors import ModelError, TrainingError
from thumbwheel.params import Params
from thumbwheel.settings import settings


class DistilParams(Params):
    """A teacher with the base model's tokens, in a local folder, and the divergence that is learnt.

    `beta` goes from forward Kullback-Leibler (0: cover all that the teacher says) to reverse (1: say nothing that the
    teacher would not), by the generalized Jensen-Shannon divergence (Agarwal et al. 2024, Eq. 1). `on_policy` is the
    share of steps that learn from the student's own answers of `tokens` tokens, sampled at `temperature`.
    """

    teacher: str
    beta: float = Field(ge=0, le=1)
    on_policy: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)
    tokens: int = Field(gt=0)


def folder_of(params: DistilParams) -> Path:
    """Return the teacher's folder, relative names starting at the repository."""
    return settings().root / Path(params.teacher).expanduser()


def teacher_hash(params: DistilParams | None) -> str | None:
    """Return the hash of the teacher, None without one.

    Raises:
        ModelError: the folder holds no model.
    """
    if params is None:
        return None
    if not (folder_of(params) / "config.json").is_file():
        raise ModelError(f"sft.distil.teacher = '{params.teacher}': there is no model (no config.json) in that folder.")
    return bundle_hash(folder_of(params))


def check_tokens(params: DistilParams, tokenizer: Any) -> None:
    """Refuse a teacher that reads text as other tokens: distributions over other tokens cannot be compared.

    Raises:
        TrainingError: the vocabularies differ.
    """
    other = training.load_tokenizer(folder_of(params))
    if other.get_vocab() != tokenizer.get_vocab():
        raise TrainingError(
            f"sft.distil.teacher = '{params.teacher}' has other tokens than models/base; "
            "choose a teacher of its family."
        )


def kind(params: DistilParams, shared: Mapping[str, Any], dtype: str, length: int) -> Callable[..., Any]:
    """Return what makes TRL's trainer of generalized knowledge distillation."""
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    args = GKDConfig(
        **shared,
        max_length=length,
        lmbda=params.on_policy,
        beta=params.beta,
        temperature=params.temperature,
        max_new_tokens=params.tokens,
    )
    teacher = training.load_model(folder_of(params), dtype).requires_grad_(False)

    def make(processing_class: Any, **rest: Any) -> Any:
        check_tokens(params, processing_class)
        collator = partial(collate, pad=processing_class.pad_token_id)
        return GKDTrainer(
            args=args, teacher_model=teacher, data_collator=collator, processing_class=processing_class, **rest
        )

    return make


def collate(examples: Sequence[Mapping[str, Sequence[int]]], pad: int) -> dict[str, Any]:
    """Return a batch: tokens and labels padded on the right, and the prompts up to the first answer, on the left."""
    import torch

    def padded(rows: Sequence[Sequence[int]], value: int, left: bool = False) -> Any:
        width = max(map(len, rows))
        fill = [[value] * (width - len(row)) for row in rows]
        return torch.tensor([[*f, *row] if left else [*row, *f] for row, f in zip(rows, fill, strict=True)])

    ids = [list(one["input_ids"]) for one in examples]
    starts = [next(i for i, label in enumerate(one["labels"]) if label != IGNORED) for one in examples]
    prompts = [row[:start] for row, start in zip(ids, starts, strict=True)]
    return {
        "input_ids": padded(ids, pad),
        "attention_mask": padded([[1] * len(row) for row in ids], 0),
        "labels": padded([list(one["labels"]) for one in examples], IGNORED),
        "prompts": padded(prompts, pad, left=True),
        "prompt_attention_mask": padded([[1] * len(row) for row in prompts], 0, left=True),
    }
