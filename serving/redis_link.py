"""A connection to Redis that never holds up an answer for long, and rests while Redis is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from serving.breaker import Breaker
from thumbwheel.errors import SettingsError, StoreError
from thumbwheel.settings import settings

PATIENCE = 0.5
"""Seconds that one call may take."""

T = TypeVar("T")


class RedisLink:
    """Calls to one Redis, each bounded in time."""

    def __init__(self, url: str, breaker: Breaker, patience: float = PATIENCE) -> None:
        from redis.asyncio import Redis

        self.redis: Any = Redis.from_url(url, socket_timeout=patience, socket_connect_timeout=patience)
        self._breaker = breaker

    async def call(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Return what `work` does with the client.

        Raises:
            StoreError: Redis is away, or was a moment ago.
        """
        from redis.exceptions import RedisError

        if not self._breaker.allows():
            raise StoreError("Redis was away a moment ago and is left alone for a rest")
        try:
            done = await work(self.redis)
        except (RedisError, OSError) as error:
            self._breaker.failed()
            raise StoreError(f"Redis: {error}") from None
        self._breaker.succeeded()
        return done

    async def close(self) -> None:
        await self.redis.aclose()


def redis_link(section: str, breaker: Breaker) -> RedisLink:
    """Return a link to the Redis that the settings name.

    Raises:
        SettingsError: they name none.
    """
    if settings().redis_url is None:
        raise SettingsError(f"serving.yaml keeps {section} in Redis: set THUMBWHEEL_REDIS_URL, or store: process.")
    return RedisLink(str(settings().redis_url), breaker)
