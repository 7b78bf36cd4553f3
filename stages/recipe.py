"""Lay a recipe of `recipes/` over `params.yaml`, and say what its trainings take before any starts.

python -m stages.recipe 8b-lora            # or: make run RECIPE=8b-lora
python -m stages.recipe 8b-lora --show     # the estimate alone
"""

from __future__ import annotations

import argparse
import difflib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError
from rich.console import Console
from rich.table import Table

from stages.dpo import DpoParams
from stages.estimate import Estimate, Hardware, Job, Shape, Trained, estimate
from stages.fetch import FetchParams
from stages.kto import KtoParams
from stages.quantize import QuantizeParams
from stages.sft import SftParams
from thumbwheel.command import run
from thumbwheel.errors import ParamsError
from thumbwheel.params import Params, load_params, read_params
from thumbwheel.settings import REPOSITORY, settings

FOLDER = REPOSITORY / "recipes"
SECTIONS: dict[str, type[Params]] = {
    "fetch": FetchParams,
    "sft": SftParams,
    "dpo": DpoParams,
    "kto": KtoParams,
    "quantize": QuantizeParams,
}
"""What a recipe may change: which model is trained, and how."""


class Recipe(Params):
    """A recipe: what it is for, what it runs on, and the parameters that it lays over those of `params.yaml`."""

    about: str
    hardware: Hardware
    model: Shape
    conversation_tokens: int = Field(gt=0)
    """Tokens of a conversation, and of each reply of a pair with its prompt, on average: for the time that it takes."""
    params: dict[str, dict[str, Any]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("name", help=f"one of: {', '.join(names())}")
    options.add_argument("--show", action="store_true", help="print the estimate and change nothing")
    given = options.parse_args()
    recipe, path = load_recipe(given.name), settings().root / "params.yaml"
    text = lay_over(path.read_text(), recipe.params)
    estimates = {stage: estimate(recipe.model, job, recipe.hardware) for stage, job in jobs(text, recipe).items()}
    show(recipe, estimates)
    refuse_too_large(given.name, recipe, estimates)
    if not given.show:
        replace(path, text)


def names() -> list[str]:
    """Return the recipes that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        ParamsError: there is none of that name, or a key of it is missing, unknown or ill-typed.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        meant = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names())}"
        raise ParamsError(f"no recipe '{name}' in {FOLDER.name}/; {meant}.")
    path = FOLDER / f"{name}.yaml"
    try:
        recipe = Recipe.model_validate(read_params(path))
    except ValidationError as error:
        item = error.errors()[0]
        raise ParamsError(f"{path.name}: '{'.'.join(map(str, item['loc']))}': {item['msg']}.") from None
    if unknown := sorted(set(recipe.params) - set(SECTIONS)):
        raise ParamsError(f"{path.name}: params.{unknown[0]}: a recipe may change {', '.join(SECTIONS)}.")
    return recipe


def lay_over(text: str, params: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a `params.yaml` with other values; every line that keeps its values is left as it is.

    Raises:
        ParamsError: a key is not in `params.yaml`, or the outcome is not one that the stages accept.
    """
    changes = sorted(_changes(yaml.compose(text), params, ""), reverse=True)
    for start, end, value in changes:
        text = text[:start] + value + text[end:]
    _check(text, params)
    return text


def _changes(node: Any, values: Mapping[str, Any], where: str) -> Iterator[tuple[int, int, str]]:
    """Yield where in the text another value goes, from and to which character, and its spelling."""
    targets = {key.value: value for key, value in node.value}
    for key, value in values.items():
        if key not in targets:
            raise ParamsError(f"params.yaml has no key '{where}{key}' that a recipe could change.")
        target = targets[key]
        if isinstance(value, Mapping) and isinstance(target, yaml.MappingNode):
            yield from _changes(target, value, f"{where}{key}.")
        elif yaml.safe_load(yaml.serialize(target)) != value:
            yield target.start_mark.index, target.end_mark.index, _spelled(value)


def _spelled(value: Any) -> str:
    """Return a value in YAML's flow style."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).removesuffix("...\n").strip()


def _check(text: str, params: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(text)
        for name in params:
            load_params(name, SECTIONS[name], path)


def jobs(text: str, recipe: Recipe) -> dict[str, Job]:
    """Return what the training stages of a `params.yaml` will do."""
    sections = yaml.safe_load(text)
    return {
        "sft": job_of("sft", SftParams.model_validate(sections["sft"]), recipe),
        "dpo": job_of("dpo", DpoParams.model_validate(sections["dpo"]), recipe),
        "kto": job_of("kto", KtoParams.model_validate(sections["kto"]), recipe),
    }


def job_of(stage: Trained, params: SftParams | DpoParams | KtoParams, recipe: Recipe) -> Job:
    """Return a stage's job, all its steps done."""
    o, is_sft = params.optimiser, stage == "sft"
    replies = 1 if is_sft else 2
    packed = isinstance(params, SftParams) and params.packing
    tokens = params.max_length if packed else min(recipe.conversation_tokens, params.max_length)
    return Job(
        stage=stage,
        method=params.method,
        dtype=params.dtype,
        lora=params.lora,
        launch=params.launch,
        batch=o.batch,
        length=params.max_length,
        tokens=o.steps * o.batch * o.accumulation * tokens * replies,
        checkpointing=settings().accelerator != "cpu" or recipe.hardware.devices > 1 or recipe.hardware.tflops > 10,
        watched=params.sentinel is not None,
        packed=packed,
    )


def show(recipe: Recipe, estimates: Mapping[str, Estimate]) -> None:
    """Print what each stage takes."""
    h = recipe.hardware
    table = Table(title=f"{recipe.about}: on each of {h.devices} x {h.name}, GiB")
    for column in ("", "weights", "reference", "optimiser", "activations", "logits", "together", "time at most"):
        table.add_column(column, justify="left" if not column else "right")
    for stage, one in estimates.items():
        parts = (one.weights, one.reference, one.optimiser, one.activations, one.logits, one.gib)
        table.add_row(stage, *(f"{part:.2f}" for part in parts), duration(one.seconds or 0.0))
    Console(width=120).print(table)


def duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def refuse_too_large(name: str, recipe: Recipe, estimates: Mapping[str, Estimate]) -> None:
    """Raise `ParamsError` where a stage would not fit into the recipe's own hardware."""
    for stage, one in estimates.items():
        if one.gib > recipe.hardware.memory_gib:
            raise ParamsError(
                f"recipe '{name}': {stage} would take {one.gib:.1f} GiB of a device that has "
                f"{recipe.hardware.memory_gib:g}; lower {stage}.max_length or {stage}.optimiser.batch, or share the "
                "weights over more devices."
            )


def replace(path: Path, text: str) -> None:
    """Write `params.yaml` in one step."""
    if text != path.read_text():
        part = path.with_name(f".{path.name}.part")
        part.write_text(text)
        os.replace(part, path)
        print("params.yaml now follows the recipe; see git diff params.yaml.")
    else:
        print("params.yaml follows the recipe already.")


if __name__ == "__main__":
    run(main)
