"""The release: which judged bundle is champion, which one was before it, and who approved it (`release.json`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from thumbwheel.errors import ReleaseError
from thumbwheel.lake import Pin, write_json
from thumbwheel.settings import settings

Step = Literal["approve", "approve_by_option", "deploy", "keep_champion"]
COLUMNS = ("criterion", "n", "candidate", "champion", "difference", "interval", "outcome", "more needed")
"""Of the gate's table: values of both sides, their difference with its interval, and how many questions would settle
what is open."""
BY_OPTION = "the option approve={} (no human looked)"


class Released(BaseModel):
    """One released version. `path` is its bundle's folder, relative to the root where it lies inside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    bundle: str
    bento: str
    bento_model: str
    path: str
    approved_by: str
    index: str | None = None
    """Hash of the knowledge index that it answers from; None for a release of before there was one."""

    def folder(self) -> Path:
        """Return the bundle's folder."""
        return settings().root / self.path


class Release(Released):
    """The champion, with what it replaced and the bundles that a human took back."""

    previous: Released | None = None
    rolled_back: tuple[str, ...] = ()

    def champion(self) -> Released:
        """Return the champion alone."""
        return Released.model_validate(self.model_dump(include=set(Released.model_fields)))


def release_path() -> Path:
    """Return where the release is written."""
    return settings().state_dir / "release.json"


def read_release() -> Release | None:
    """Return the release, or None before the first promotion.

    Raises:
        ReleaseError: the file is damaged.
    """
    try:
        return Release.model_validate_json(release_path().read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ReleaseError(
            f"{release_path()} is damaged ({error.error_count()} faults); remove it and promote again."
        ) from None


def write_release(release: Release) -> Path:
    """Write the release, whole or not at all."""
    return write_json(release_path(), release.model_dump())


def is_released(release: Release | None, package: Pin) -> bool:
    """Tell whether the packaged candidate is the champion already, served by the same Bento."""
    return release is not None and all(
        getattr(release, fact) == package.facts[fact] for fact in ("version", "bundle", "bento")
    )


def next_step(approve: str, outcome: str, package: Pin, release: Release | None) -> tuple[Step, str]:
    """Return the task that follows `package`, and why.

    A gate that failed, and a bundle that was rolled back, are never released without a human; the champion stays. `yes`
    releases what the gate leaves open, too; `pass` only what it passes, as often wrongly as the gate's alpha says.
    """
    if is_released(release, package):
        return "deploy", "the candidate is the champion already"
    if outcome == "fail":
        return "keep_champion", "the gate failed the candidate: the champion stays"
    if approve == "ask":
        return "approve", f"a release manager decides; the gate's outcome is {outcome}"
    if approve == "no":
        return "keep_champion", "the option approve=no: the champion stays"
    if approve == "pass" and outcome != "pass":
        return "keep_champion", f"the option approve=pass, and the gate's outcome is {outcome}: the champion stays"
    if release is not None and package.facts["bundle"] in release.rolled_back:
        return "keep_champion", "this bundle was rolled back; only a release manager can approve it (approve=ask)"
    return "approve_by_option", f"the option approve={approve}; the gate's outcome is {outcome}"


def gate_table(gate: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the gate's criteria as rows of text, the first row the heading; differences with their intervals."""
    rows = [tuple(_cell(line, name) for name in COLUMNS) for line in gate.get("criteria") or []]
    return [COLUMNS, *rows] if rows else []


def gate_markdown(gate: dict[str, Any], dossier: Path, page: str) -> str:
    """Return the gate's table in Markdown, for the body of the approval, with the dossier as file and as `page`."""
    lines = [f"| {' | '.join(row)} |" for row in gate_table(gate)]
    if lines:
        lines.insert(1, f"|{' --- |' * len(COLUMNS)}")
    head = f"The gate's outcome: **{gate.get('outcome')}**. {gate.get('reason', '')}"
    return "\n".join([head, "", *lines, "", f"[The dossier in MLflow]({page}), or as a file: {dossier}"])


def _cell(line: dict[str, Any], name: str) -> str:
    if name == "interval":
        bounds = [_number(line.get(bound)) for bound in ("low", "high")]
        return f"[{', '.join(bounds)}]" if any(bounds) else ""
    if name == "criterion":
        return str(line.get("title") or line.get("name")) + (" (required)" if line.get("required") else "")
    return _number(line.get({"difference": "delta", "more needed": "more_questions"}.get(name, name)))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
