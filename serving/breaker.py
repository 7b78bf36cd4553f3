"""A circuit breaker: what fails again and again is left alone for a while, then tried once."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.options import BreakerOptions


class Breaker:
    """Closed until `failures` in a row, then open for `rest_seconds`, then open but for one try at a time.

    A try that ends in neither `succeeded` nor `failed` holds the place for one rest, no longer.
    """

    def __init__(self, options: BreakerOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options, self._clock = options, clock
        self._failures = 0
        self._closed_again = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._options.failures

    def allows(self) -> bool:
        """Tell whether to try now; a yes while open is the one try of this rest."""
        if not self.is_open:
            return True
        if self._clock() < self._closed_again:
            return False
        self._closed_again = self._clock() + self._options.rest_seconds
        return True

    def retry_seconds(self) -> float:
        """Return how long it is until the next try, in seconds."""
        return max(0.0, self._closed_again - self._clock()) if self.is_open else 0.0

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self.is_open:
            self._closed_again = self._clock() + self._options.rest_seconds
