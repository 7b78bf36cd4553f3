"""Who was forgotten: keyed marks of users, by which their rows are known again and refused, and nobody can be named.

The list is the table `forgotten` of the lake; `stages.observe` writes the marks to `data/inputs/forgotten.json`, on
which the stages that refuse depend.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from thumbwheel.errors import SettingsError
from thumbwheel.secret import secret_key
from thumbwheel.settings import settings

TABLE = "forgotten"
REASON = "forgotten"
"""The reason by which rows of forgotten users are counted."""
FORGOTTEN = pa.schema([("mark", pa.string()), ("key", pa.string()), ("created_at", pa.string())])
"""`key` is the name of the key that made the mark."""


@dataclass(frozen=True)
class Forgotten:
    """The marks of the forgotten."""

    marks: frozenset[str] = frozenset()

    def holds(self, user: str | None) -> bool:
        """Tell whether a user, by their hash, was forgotten."""
        return bool(self.marks) and user is not None and mark_of(user, forget_key()) in self.marks

    @property
    def digest(self) -> str:
        """Eight hex digits that change with the list."""
        return hashlib.sha256(" ".join(sorted(self.marks)).encode()).hexdigest()[:8]


def forget_key() -> bytes:
    """Return the key of the marks, made once under the state folder."""
    return secret_key(settings().state_dir / "forget.key")


def key_name(key: bytes) -> str:
    """Return eight hex digits by which a key is known again, and that say nothing of it."""
    return hmac.new(key, b"thumbwheel forget key", hashlib.sha256).hexdigest()[:8]


@lru_cache(100_000)
def mark_of(user: str, key: bytes) -> str:
    """Return the mark of a user's hash: an HMAC-SHA-256, 32 hex digits."""
    return hmac.new(key, user.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def listed(rows: Iterable[dict[str, Any]]) -> Forgotten:
    """Return the list that rows of `FORGOTTEN`, or of the inputs file, amount to.

    Raises:
        SettingsError: a mark was made by another key, so that its user could not be known again.
    """
    rows = list(rows)
    if strange := {row["key"] for row in rows} - ({key_name(forget_key())} if rows else set()):
        raise SettingsError(
            f"users were forgotten by the key {sorted(strange)[0]}, and {settings().state_dir / 'forget.key'} is "
            "another: put that file back from where they were forgotten; else they would be taken in again."
        )
    return Forgotten(frozenset(row["mark"] for row in rows))


def observed(path: Path | None = None) -> Forgotten:
    """Return the list as `data/inputs/forgotten.json` has it; nobody where there is no such file.

    Raises:
        SettingsError: as `listed`.
    """
    path = path or settings().inputs / "forgotten.json"
    return listed(json.loads(path.read_text())["forgotten"]) if path.exists() else Forgotten()
