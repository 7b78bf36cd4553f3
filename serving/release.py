"""The release record: what is served, packaged into the Bento beside the code, out of the reach of settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from thumbwheel.errors import ReleaseError

RECORD = "release.json"


class Release(BaseModel):
    """One release: the judged bundle, its names, and how it answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    name: str
    model: str
    """Name and version under which the model answers, such as `thumbwheel-chat/3`."""
    bundle: str
    bento_model: str
    index: str | None = None
    """Hash of the knowledge index that goes with it; None for a release that answers from no documents."""
    bento_index: str | None = None
    system_prompt: str
    """Set before every conversation; empty leaves the bundle's own template to speak."""
    window: int
    """Tokens, prompt and answer together."""
    max_tokens: int
    max_streams: int
    temperature: float
    regenerate_temperature: float
    title: str
    assistant: str
    greeting: str
    suggestions: list[str]


def load_release(path: Path | None = None) -> Release:
    """Return the release record that lies beside the `serving` package, as it does in a Bento.

    Raises:
        ReleaseError: there is none, or it is damaged.
    """
    path = path or Path(__file__).resolve().parent.parent / RECORD
    try:
        return Release.model_validate_json(path.read_text())
    except FileNotFoundError:
        raise ReleaseError(f"{path} is missing; serve a Bento made by: dvc repro package.") from None
    except ValidationError as error:
        raise ReleaseError(f"{path} is damaged ({error.error_count()} faults); make the Bento again.") from None
