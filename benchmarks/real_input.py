"""Point params.yaml at real public data, so that `make run` turns the wheel on it; git shows and undoes the change.

    python -m benchmarks.real_input && make run

Conversations of Dolly and OpenAssistant, pairs of OpenAssistant and HH-RLHF, MT-Bench's own questions, and LLMBar's
natural pairs for the judge's trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.public_data import ROOT, AbsentDataError, public_data
from stages.observe import apply_overrides

CHANGES = Path(__file__).with_suffix(".yaml")
THEMES = ("chat", "preferences", "judge")


def located(value: Any) -> Any:
    """Return the changes with each path into the public data set to where it is on this machine.

    Raises:
        AbsentDataError: a data set is not on this machine.
    """
    if isinstance(value, Mapping):
        return {key: located(item) for key, item in value.items()}
    if isinstance(value, list):
        return [located(item) for item in value]
    if isinstance(value, str) and value.split("/")[0] in THEMES and "/" in value:
        folder, _, file = value.rpartition("/")
        return str(public_data(folder) / file)
    return value


def main() -> None:
    """Set the changes in params.yaml."""
    try:
        apply_overrides(ROOT / "params.yaml", located(yaml.safe_load(CHANGES.read_text())))
    except AbsentDataError as error:
        raise SystemExit(f"error: {error}") from None
    print("params.yaml now names real public data; turn the wheel with: make run")


if __name__ == "__main__":
    main()
