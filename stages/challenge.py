"""Name the champion that the candidate is judged against, in data/inputs/champion.json.

    python -m stages.challenge

The champion is what the release says is served; before the first release it is the base model. A candidate that is the
champion already was judged when it became it: the file then stays as it is, and nothing is judged again.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from stages.observe import write_changed
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.release import Released, read_release
from thumbwheel.settings import settings

log = logging.getLogger(__name__)


def opponent(release: Released | None, candidate: str, base: str, written: dict[str, Any] | None) -> dict[str, Any]:
    """Return what the candidate (a bundle's hash) must beat: version, bundle and folder."""
    if release is None:
        return {"version": None, "bundle": base, "path": "models/base"}
    if release.bundle == candidate and written is not None:
        return written
    return {"version": release.version, "bundle": release.bundle, "path": release.path}


def main() -> None:
    """Write data/inputs/champion.json where it differs."""
    models, path = settings().models, settings().inputs / "champion.json"
    release = read_release()
    chosen = opponent(release, bundle_hash(models / "served"), bundle_hash(models / "base"), _written(path))
    changed = write_changed(path, chosen)
    log.info("the champion is %s%s", name_of(chosen), "" if changed else ", as before")


def name_of(champion: dict[str, Any]) -> str:
    """Return a champion's name for people."""
    return "the base model" if champion["version"] is None else f"version {champion['version']}"


def _written(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


if __name__ == "__main__":
    run(main)
