"""One trial of a search: a training stage with some of its parameters changed, trained and measured, kept by nobody."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages import dpo, kto, sft, training
from stages.checkpoints import checkpoint_folder, last_checkpoint
from stages.dpo import DpoParams
from stages.kto import KtoParams
from stages.sft import SftParams
from thumbwheel import tracking
from thumbwheel.errors import ParamsError, TrainingError
from thumbwheel.lake import read_pinned
from thumbwheel.params import load_params
from thumbwheel.settings import settings

Searched = SftParams | DpoParams | KtoParams
KINDS: dict[str, type[Searched]] = {"sft": SftParams, "dpo": DpoParams, "kto": KtoParams}
BEFORE = {"sft": (), "dpo": ("sft",), "kto": ("sft", "dpo")}
"""The stages whose models a stage starts from, over the base model."""


def changed(stage: str, values: Mapping[str, Any]) -> Searched:
    """Return the stage's parameters with some values, by dotted keys, in the place of theirs.

    Raises:
        ParamsError: a key that is not there, or a value that may not stand there.
    """
    kind = KINDS[stage]
    whole = load_params(stage, kind).model_dump()
    for name, value in values.items():
        *sections, last = name.split(".")
        place: Any = whole
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = ", ".join(tracking.flatten(load_params(stage, kind).model_dump()))
            raise ParamsError(f"tune.space names '{name}', which {stage} does not have; it has: {known}.")
        place[last] = value
    try:
        return kind.model_validate(whole)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ParamsError(f"tune.space of {stage}: {reasons}.") from None


def train(stage: str, params: Searched, found: tracking.StageRun, study: str) -> dict[str, Any]:
    """Return what the stage would report of a training with these parameters; its adapter is not kept.

    Raises:
        TrainingError: the training must not go on, or there is too little to learn from.
    """
    training.quiet()
    training.keep_memory()
    folder = checkpoint_folder(f"tune-{stage}", study, params.model_dump())
    if isinstance(params, SftParams):
        trainer, counts = sft.make_trainer(sft.read_rows(params), settings().models / "base", folder, params, found)
        facts = sft.train(trainer, last_checkpoint(folder)) | counts
    elif isinstance(params, DpoParams):
        pairs, models = dpo.read_pairs(), settings().models
        trainer, counts = dpo.make_trainer(pairs, models / "base", models / "sft", folder, params, found)
        facts = dpo.train(trainer, last_checkpoint(folder)) | counts
        facts |= dpo.held_out(trainer, dpo.validation(pairs, params), params)
    else:
        facts = train_on_thumbs(params, folder, found)
    shutil.rmtree(folder, ignore_errors=True)
    return facts


def train_on_thumbs(params: KtoParams, folder: Path, found: tracking.StageRun) -> dict[str, Any]:
    """Return what KTO reports of the thumbs but every fifth, and how it tells those apart.

    The stage itself holds none out, for thumbs are rare; a search without any would only find who learns them by heart.

    Raises:
        TrainingError: there are too few thumbs, or all that are left aside are of one kind.
    """
    thumbs = read_pinned("split", "unpaired").to_pylist()
    learnt, aside = kto.put_aside(thumbs, params.seed)
    if len(thumbs) < params.min_examples or not all(kto.counts(aside).values()):
        raise TrainingError(f"{len(thumbs)} thumbs without a pair are too few for a search over kto.")
    models = settings().models
    before = [models / name for name in BEFORE["kto"]]
    trainer = kto.make_trainer(learnt, models / "base", before, folder, params, found)
    facts = kto.train(trainer, last_checkpoint(folder)) | kto.counts(learnt)
    return facts | kto.held_out(trainer, aside, params)
