"""Admission: so many answers at once, so many waiting, the rest told at once to come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

from serving import metrics
from serving.openai_api import ApiError
from serving.options import AdmissionOptions
from serving.trace import span

T = TypeVar("T")


class Admission:
    """A bounded queue in front of the engine, first come first served."""

    def __init__(self, options: AdmissionOptions) -> None:
        self.options = options
        self._places = asyncio.Semaphore(options.answers)
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        """Tell whether the next one would have to wait."""
        return self._places.locked()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place for the length of a `with` block.

        Raises:
            ApiError: 429 with Retry-After, when the queue is full or the wait is over.
        """
        if self._places.locked() and self._waiting >= self.options.waiting:
            raise self._full("the queue is full")
        start = time.monotonic()
        try:
            with span("admission"):
                await (self._wait() if self._places.locked() else self._places.acquire())
        finally:
            metrics.QUEUE_SECONDS.observe(time.monotonic() - start)
        metrics.ANSWERING.inc()
        try:
            yield
        finally:
            metrics.ANSWERING.dec()
            self._places.release()

    async def _wait(self) -> Literal[True]:
        self._waiting += 1
        metrics.WAITING.inc()
        try:
            async with asyncio.timeout(self.options.wait_seconds):
                return await self._places.acquire()
        except TimeoutError:
            raise self._full("nobody could be served in time") from None
        finally:
            self._waiting -= 1
            metrics.WAITING.dec()

    def _full(self, why: str) -> ApiError:
        message = f"too many people are asking right now ({why}); please try again in a moment"
        return ApiError(429, message, "server_overloaded", retry_seconds=self.options.retry_seconds)


async def within(source: AsyncGenerator[T, None], seconds: float) -> AsyncGenerator[T, None]:
    """Yield what `source` yields until its time is over; the source is closed, and so cancelled, in either case.

    Raises:
        ApiError: 504 once `seconds` have passed since the first item was asked for.
    """
    end = time.monotonic() + seconds
    try:
        while True:
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    item = await anext(source)
            except StopAsyncIteration:
                return
            yield item
    except TimeoutError:
        raise ApiError(504, f"the answer took longer than {seconds:g} seconds", "deadline_exceeded") from None
    finally:
        await source.aclose()
