"""`params.yaml`, which changes results: one section a stage, frozen, with no unknown key and no default in code."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from thumbwheel.errors import ParamsError
from thumbwheel.settings import settings


class Params(BaseModel):
    """Base of every stage's parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


P = TypeVar("P", bound=Params)


def load_params(stage: str, kind: type[P], path: Path | None = None) -> P:
    """Read section `stage` of `params.yaml` into `kind`.

    Raises:
        ParamsError: the file or section is missing, or keys are missing, unknown or ill-typed; all are named at once.
    """
    path = path or settings().root / "params.yaml"
    sections = read_params(path)
    if stage not in sections:
        raise ParamsError(f"{path.name} has no section '{stage}'; it has: {', '.join(sections)}.")
    try:
        return kind.model_validate(sections[stage] or {})
    except ValidationError as error:
        raise ParamsError(
            f"{path.name}: " + "; ".join(_explain(stage, item, kind) for item in error.errors())
        ) from None


def read_params(path: Path) -> dict[str, Any]:
    """Return all sections of a `params.yaml`.

    Raises:
        ParamsError: the file is missing, is no YAML, or is no mapping.
    """
    try:
        sections = yaml.load(path.read_text(), _Once)
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; restore it from git.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path.name} is not valid YAML in UTF-8: {error}") from None
    if not isinstance(sections, dict):
        raise ParamsError(f"{path.name} must map stage names to their parameters.")
    return sections


class _Once(yaml.SafeLoader):
    """Reads YAML in which no key stands twice: of two, YAML takes the last, whichever of them is seen and edited."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key, _ in node.value if names.count(key.value) > 1]:
            message = f"the key '{twice[-1].value}' stands here for the second time"
            raise yaml.constructor.ConstructorError(None, None, message, twice[-1].start_mark)
        return super().construct_mapping(node, deep)


def _explain(stage: str, item: Any, kind: type[Params]) -> str:
    where = ".".join([stage, *map(str, item["loc"])])
    if item["type"] == "extra_forbidden":
        known = list(kind.model_fields)
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        return f"unknown key '{where}'" + (f", did you mean '{near[0]}'?" if near else f" (known: {', '.join(known)})")
    if item["type"] == "missing":
        return f"missing key '{where}'"
    shown = "" if isinstance(item["input"], dict | list) else f" = {item['input']!r}"
    return f"'{where}'{shown}: {item['msg']}"
