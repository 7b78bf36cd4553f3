"""What happens when a part's backend is gone: the answer goes on without it, and a metric and the log say so."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from serving import metrics
from thumbwheel.errors import StoreError

logger = logging.getLogger(__name__)

GONE: tuple[type[Exception], ...] = (StoreError, sqlite3.Error, OSError)


@contextmanager
def tolerated(part: str, *more: type[Exception]) -> Iterator[None]:
    """Let a `with` block fail for want of its backend, counted and logged under `part`'s name."""
    try:
        yield
    except (*GONE, *more) as error:
        metrics.DEGRADED.labels(part).set(1)
        logger.warning("%s is away (%s: %s); answering without it", part, type(error).__name__, error)
    else:
        metrics.DEGRADED.labels(part).set(0)
