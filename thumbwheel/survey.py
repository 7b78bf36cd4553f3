"""One look at what changed since the last turn, so that stages whose inputs cannot have changed are skipped at once.

    python -m thumbwheel.survey      # asks DVC about every stage, and writes .thumbwheel/survey.json

A stage is skipped by the survey only where DVC called it and all that it waits for unchanged, in this very turn, and
no file that they read from outside the graph was touched since. Any other stage asks DVC again when its turn comes.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thumbwheel.command import run
from thumbwheel.errors import TurnError
from thumbwheel.graph import Stage, load_graph
from thumbwheel.lake import write_json
from thumbwheel.settings import settings

ALWAYS = ("dvc.yaml", "params.yaml")


def survey_path() -> Path:
    """Return where the survey is written."""
    return settings().state_dir / "survey.json"


def is_unchanged(stage: str, turn: str, root: Path) -> bool:
    """Tell whether this turn's survey proves that a stage's inputs and outputs are as they were."""
    try:
        survey = json.loads(survey_path().read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    if survey["turn"] != turn:
        return False
    stages = load_graph(root / "dvc.yaml")
    names = {stage, *ancestors(stage, stages)}
    return names.isdisjoint(survey["changed"]) and all(
        survey["marks"].get(name) == mark(stages, name, root) for name in names
    )


def ancestors(stage: str, stages: Mapping[str, Stage]) -> set[str]:
    """Return all stages that a stage waits for, directly or not."""
    found: set[str] = set()
    ahead = list(stages[stage].upstream)
    while ahead:
        if (name := ahead.pop()) not in found:
            found.add(name)
            ahead += stages[name].upstream
    return found


def mark(stages: Mapping[str, Stage], name: str, root: Path) -> list[list[Any]]:
    """Return path, size and time of each file that a stage reads and no stage makes."""
    made = {out for stage in stages.values() for out in stage.outs}
    outside = [dep for dep in stages[name].deps if dep not in made]
    return [entry for dep in (*ALWAYS, *outside) for entry in _entries(root / dep)]


def _entries(path: Path) -> Iterator[list[Any]]:
    inside = sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    for file in inside if path.is_dir() else [path]:
        stat = file.stat() if file.exists() else None
        yield [str(file), stat.st_size if stat else -1, stat.st_mtime_ns if stat else -1]


def main() -> None:
    """Ask DVC which stages changed and write the survey for this turn."""
    root = settings().root
    stages = load_graph(root / "dvc.yaml")
    marks = {name: mark(stages, name, root) for name in stages}
    answer = subprocess.run(
        ["dvc", "--wait-for-lock", "status", "--json"], cwd=root, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise TurnError(f"dvc status failed: {answer.stderr.strip()[-400:]}")
    changed = sorted(json.loads(answer.stdout or "{}"))
    names = ", ".join(changed) or "none"
    write_json(survey_path(), {"turn": settings().turn, "changed": changed, "marks": marks})
    print(f"{len(stages) - len(changed)} of {len(stages)} stages are unchanged; changed: {names}")


if __name__ == "__main__":
    run(main)
