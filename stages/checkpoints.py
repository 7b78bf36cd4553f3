"""Checkpoints of a training: where they lie, which is the newest whole one, and what happens when one does not fit."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.launch import is_main
from thumbwheel.command import is_full
from thumbwheel.errors import DiskFullError
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"
"""The last file of a checkpoint that the trainer writes; without it a kill cut the checkpoint short."""
PRIVATE_FILE = "private.pt"
"""The one checkpoint of a training under differential privacy."""
LEAST_FREE = 2**20
"""Bytes; with fewer left the disk was full, whatever a library called it: torch says only that a write failed."""


def checkpoint_folder(stage: str, *parts: Any) -> Path:
    """Return where a run keeps its checkpoints: another folder for other data, models or parameters."""
    key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return settings().state_dir / "checkpoints" / f"{stage}-{key}"


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest whole checkpoint in `folder`; those that a kill cut short are removed."""
    whole: list[tuple[int, Path]] = []
    for path in sorted(folder.glob("checkpoint-*")):
        try:
            whole.append((int(json.loads((path / STATE_FILE).read_text())["global_step"]), path))
        except (OSError, ValueError, KeyError):
            log.warning("removing %s, which a kill cut short", path.name)
            if is_main():
                shutil.rmtree(path, ignore_errors=True)
    if not whole:
        return None
    return str(max(whole)[1])


def newest(folder: Path) -> str | None:
    """Return the newest checkpoint of either kind of training, for people."""
    private = folder / PRIVATE_FILE
    return str(private) if private.is_file() else last_checkpoint(folder)


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Make one clear error of a disk that is full, for what writes checkpoints into `folder`.

    Raises:
        DiskFullError: a checkpoint did not fit.
    """
    try:
        yield
    except Exception as error:  # weights are written by libraries that raise classes of their own
        if not (is_full(error) or (folder.is_dir() and shutil.disk_usage(folder).free < LEAST_FREE)):
            raise
        raise DiskFullError(
            f"the disk is full: a checkpoint did not fit into {folder}. Free some space and run again; it goes on from "
            "the last whole checkpoint."
        ) from None
