"""The ledger of a release: the golden set, what it answered at its promotion, and every look since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.drift import Reply
from stages.golden.asking import Question
from thumbwheel.errors import DriftError
from thumbwheel.lake import write_json
from thumbwheel.settings import settings


class Look(BaseModel):
    """One comparison: when, what came of it, and the e-values that later looks add to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str
    outcome: str
    e_values: dict[str, float]


class Ledger(BaseModel):
    """`release` is what the service says of itself; `answers` are to `questions`, in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: dict[str, Any]
    kept_at: str
    questions: list[Question]
    answers: list[Reply | None]
    looks: list[Look]


def ledger_path(release: dict[str, Any]) -> Path:
    """Return a release's ledger; a rollback finds that of the release that it brings back."""
    name = "-".join(str(release[part] or "none")[:12] for part in ("bundle", "index"))
    return settings().state_dir / "watch" / f"{name}.json"


def read_ledger(release: dict[str, Any]) -> Ledger | None:
    """Return the ledger of a release, or None where none of its answers were kept yet.

    Raises:
        DriftError: it is damaged.
    """
    path = ledger_path(release)
    try:
        return Ledger.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DriftError(f"{path} is damaged ({error.error_count()} faults); remove it to begin anew.") from None


def write_ledger(ledger: Ledger) -> Path:
    """Write a ledger, whole or not at all."""
    return write_json(ledger_path(ledger.release), ledger.model_dump())
