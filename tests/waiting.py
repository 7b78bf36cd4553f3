"""Wait for a state that another thread or process brings about."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 90.0
"""Seconds; far more than any machine needs, so that a busy one fails nothing."""


def eventually(what: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Return whether `what` became true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(what())
