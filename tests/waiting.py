"""Wait for a state that another thread or process brings about."""

from __future__ import annotations

import socket
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


def listens(port: int) -> bool:
    """Tell whether something takes connections on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
