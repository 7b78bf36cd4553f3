"""Secret keys in files of their own: made once, readable by their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

BYTES = 32


def secret_key(path: Path) -> bytes:
    """Return the 32 bytes at `path`, drawn at random where there are none; of two who draw at once, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    if not path.exists():
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.urandom(BYTES))
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return path.read_bytes()
