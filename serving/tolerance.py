"""What happens when a part's backend is gone: the answer goes on without it, and a metric and the log say so."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving import metrics
from serving.openai_api import ApiError
from thumbwheel.errors import StoreError

logger = logging.getLogger(__name__)

GONE: tuple[type[Exception], ...] = (StoreError, sqlite3.Error, OSError)


def store_away(request: Request, error: Exception) -> Response:
    """Answer a request that cannot do without a store which is away."""
    logger.warning("a store is away: %s", error)
    refusal = ApiError(503, "this cannot be looked up right now; try again", "store_unavailable", retry_seconds=5)
    return JSONResponse(refusal.body(), refusal.status, headers=refusal.headers)


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
