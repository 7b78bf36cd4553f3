"""Pins that name versions which were erased: taken away with what DVC keeps of them, so that their stages run again."""

from __future__ import annotations

import hashlib
import shutil

from stages.forgetting.tables import stale_pins
from thumbwheel.settings import settings


def drop_stale() -> list[str]:
    """Remove the pins that point at nothing; return their stages.

    DVC would put a pin back from its cache instead of running the stage, so its copies go as well.
    """
    stages, cache = stale_pins(), settings().root / ".dvc" / "cache"
    for stage in stages:
        path = settings().pins / f"{stage}.json"
        mark = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        (cache / "files" / "md5" / mark[:2] / mark[2:]).unlink(missing_ok=True)
        path.unlink()
    if stages:
        shutil.rmtree(cache / "runs", ignore_errors=True)
    return stages
