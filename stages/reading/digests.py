"""Digests of files, remembered by what the file system says of them, so that what did not change is not read again."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from thumbwheel.lake import write_json
from thumbwheel.settings import settings

SMALL = 1 << 20
"""Bytes up to which a file is just read."""
SETTLED_SECONDS = 2.0
"""A file that was touched less long ago may change once more without its time changing, as in git's index."""


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    told = path.stat()
    if told.st_size <= SMALL:
        return _read(path)
    state = {"path": str(path.resolve()), "size": told.st_size, "mtime": told.st_mtime_ns, "inode": told.st_ino}
    memory = _memory(path)
    try:
        remembered = json.loads(memory.read_text())
        if {name: remembered[name] for name in state} == state:
            return str(remembered["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = _read(path)
    if time.time() - told.st_mtime > SETTLED_SECONDS:
        write_json(memory, {**state, "sha256": digest})
    return digest


def _memory(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return settings().state_dir / "digests" / f"{name}.json"


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
