"""Windows with the options shipped, and texts to send through them."""

from __future__ import annotations

from typing import Any

from serving.guard.personal import Personal
from serving.guard.screen import Screen
from serving.guard.verdict import Verdict
from serving.guard.window import Window
from tests.serving.conftest import OPTIONS, options_with

FORBIDDEN = ("internal use only", "project marigold", "aab aac")
GUARD = OPTIONS.guard
assert GUARD.stream is not None


def screen(**personal: Any) -> Screen:
    """Return a screen for a few sequences of ours."""
    stream = GUARD.stream.model_copy(update={"forbidden": FORBIDDEN, "hold_characters": 256})  # type: ignore[union-attr]
    return Screen(stream, Personal(GUARD.personal.model_copy(update=personal)))


def sent(screen: Screen, chunks: list[str]) -> tuple[str, list[Verdict], int]:
    """Return what leaves a window fed with these chunks, its verdicts and the longest tail it held."""
    window, out, held = Window(screen), [], 0
    for chunk in chunks:
        out.append(window.feed(chunk))
        held = max(held, window.held)
    return "".join([*out, window.close()]), window.verdicts, held


def guard_options(**changed: Any) -> Any:
    """Return the options shipped with keys of section `guard` changed."""
    return options_with(limits={"store": "process", "tiers": OPTIONS.limits.model_dump()["tiers"]}, guard=changed)
