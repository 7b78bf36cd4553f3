"""Fair shares: so many answers at once for one caller, waiting ones counted, so that nobody fills the service alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from serving import metrics
from serving.openai_api import ApiError
from serving.options import Tier


class Shares:
    """Counts what each caller holds in this process, whose places admission gives out likewise."""

    def __init__(self, retry_seconds: float) -> None:
        self._retry_seconds = retry_seconds
        self._held: Counter[str] = Counter()

    @contextmanager
    def one(self, caller: str, name: str, tier: Tier) -> Iterator[None]:
        """Hold one answer of a caller's, who is of the tier `name`, for the length of a `with` block.

        Raises:
            ApiError: 429 with Retry-After, when the caller holds as many as its tier may.
        """
        if self._held[caller] >= tier.at_once:
            metrics.LIMITED.labels(name, "at_once").inc()
            message = f"too many answers at once: {tier.at_once} for one caller, waiting ones counted"
            raise ApiError(429, message, "concurrency_limit_exceeded", retry_seconds=self._retry_seconds)
        self._held[caller] += 1
        try:
            yield
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]
