"""Partitions of the semantic cache: all that an answer depends on beside its question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Partition:
    """Whose answers, under which system text, by which model and index, sampled how."""

    scope: str
    system: str
    model: str
    index: str
    sampling: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Return the SHA-256, in hex, of all fields; two partitions that differ in one have two keys."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def sampling_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an engine's payload says how to sample: all but model and messages."""
    return {name: value for name, value in payload.items() if name not in ("model", "messages")}


def is_deterministic(payload: Mapping[str, Any]) -> bool:
    """Tell whether a payload asks for the likeliest answer, the same each time."""
    return payload.get("temperature") == 0
