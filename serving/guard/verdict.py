"""What a layer says of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layer = Literal["input", "stream", "output"]
Action = Literal["block", "redact"]


@dataclass(frozen=True)
class Verdict:
    """A layer found something, by a named rule, and did something about it."""

    layer: Layer
    rule: str
    action: Action = "block"

    def public(self) -> dict[str, str]:
        """Return what a client may know."""
        return {"layer": self.layer, "rule": self.rule}


@dataclass(frozen=True)
class Finding:
    """A sentence of a retrieved document that reads as an instruction."""

    rule: str
    sentence: str
