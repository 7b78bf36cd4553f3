"""The judge's cache: every reply in a file of its own, named by the question, sealed with a digest of its content.

A reply is written whole or not at all. One that a killed run, a full disk or a bad sector damaged does not match its
seal: it counts as unknown and is asked for again, so no damage ever becomes a verdict.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thumbwheel.errors import JudgeError


def read_cached(cache: Path, key: str) -> dict[str, Any] | None:
    """Return the kept reply, or None where there is none or it is damaged."""
    try:
        entry = json.loads(_place(cache, key).read_bytes())
        reply = entry["reply"]
        return dict(reply) if entry["seal"] == _seal(key, reply) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(cache: Path, key: str, reply: Mapping[str, Any]) -> None:
    """Keep a reply.

    Raises:
        JudgeError: it cannot be written, such as on a full disk.
    """
    path = _place(cache, key)
    part = path.with_name(f"{key}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"reply": reply, "seal": _seal(key, reply)}))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise JudgeError(f"the judge's reply cannot be kept in {cache} ({error.strerror}); make room there.") from None


def _seal(key: str, reply: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([key, reply], sort_keys=True).encode()).hexdigest()


def _place(cache: Path, key: str) -> Path:
    return cache / key[:2] / f"{key}.json"
