"""The one task graph, read from `dvc.yaml` with PyYAML alone, so that Airflow and DVC agree.

python -m thumbwheel.graph      # prints each stage and what it waits for
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from thumbwheel.errors import GraphError

OPAQUE = ("foreach", "matrix", "wdir", "vars")
"""Features of dvc.yaml that hide a stage's real dependencies from a plain reader."""


@dataclass(frozen=True)
class Stage:
    """One stage: its inputs, outputs, the stages that it waits for, and hints for its Airflow task (`meta:`)."""

    name: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    upstream: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)


def load_graph(path: Path) -> dict[str, Stage]:
    """Return the stages of a `dvc.yaml` by name, upstream first.

    Raises:
        GraphError: the file is missing, uses a feature that hides dependencies, has two stages with one output, or
            a cycle.
    """
    stages = {name: _stage(name, body) for name, body in _bodies(path).items()}
    maker = _makers(stages)
    linked = {
        name: Stage(
            name, s.deps, s.outs, tuple(sorted({m for d in s.deps if (m := _maker_of(d, maker)) and m != name})), s.meta
        )
        for name, s in stages.items()
    }
    return {name: linked[name] for name in _sorted(linked)}


def _bodies(path: Path) -> dict[str, dict[str, Any]]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise GraphError(f"{path} is missing; restore it from git.") from None
    if "${" in text:
        raise GraphError(f"{path} uses '${{…}}', which hides dependencies from the task graph; write the value out.")
    document = yaml.safe_load(text) or {}
    if "vars" in document:
        raise GraphError(f"{path} uses 'vars', which hides dependencies from the task graph; write the values out.")
    return dict(document.get("stages") or {})


def _stage(name: str, body: dict[str, Any]) -> Stage:
    for feature in OPAQUE:
        if feature in body:
            raise GraphError(
                f"stage '{name}' uses '{feature}', which hides dependencies from the task graph; write it out."
            )
    outs = [_path(item) for key in ("outs", "metrics", "plots") for item in body.get(key) or []]
    return Stage(
        name, tuple(_path(item) for item in body.get("deps") or []), tuple(outs), meta=dict(body.get("meta") or {})
    )


def _path(item: Any) -> str:
    return str(next(iter(item)) if isinstance(item, dict) else item)


def _makers(stages: dict[str, Stage]) -> dict[str, str]:
    maker: dict[str, str] = {}
    for stage in stages.values():
        for out in stage.outs:
            if out in maker:
                raise GraphError(f"stages '{maker[out]}' and '{stage.name}' both make {out}.")
            maker[out] = stage.name
    return maker


def _maker_of(dep: str, maker: dict[str, str]) -> str | None:
    path = PurePosixPath(dep)
    for out, stage in maker.items():
        other = PurePosixPath(out)
        if path == other or other in path.parents or path in other.parents:
            return stage
    return None


def _sorted(stages: dict[str, Stage]) -> Iterator[str]:
    done: set[str] = set()
    while len(done) < len(stages):
        ready = [s.name for s in stages.values() if s.name not in done and done.issuperset(s.upstream)]
        if not ready:
            raise GraphError(f"the stages {sorted(set(stages) - done)} wait for one another.")
        done.update(ready)
        yield from ready


if __name__ == "__main__":
    for stage in load_graph(Path("dvc.yaml")).values():
        print(f"{stage.name} <- {', '.join(stage.upstream) or '(nothing)'}")
