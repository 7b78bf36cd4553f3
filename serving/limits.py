"""Rate limits: a token bucket a caller, kept as one number, in this process or for all processes in Redis.

A bucket is stored as the time at which it will be full again (the generic cell rate algorithm, ITU-T I.371): a take
moves that time on by one refill, and is refused where it would lie more than a full bucket ahead.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from serving import metrics
from serving.breaker import Breaker
from serving.options import Tier

logger = logging.getLogger(__name__)

MOST_KEPT = 100_000
"""Buckets held in the process; beyond it the full ones, which say nothing, are forgotten."""
REDIS_SECONDS = 0.5
"""How long an answer may be held up by Redis."""


@dataclass(frozen=True)
class Taken:
    """What came of taking a token: whether there was one, how many are left, and seconds until there is one."""

    allowed: bool
    remaining: int
    retry_seconds: float
    full_seconds: float


class Limiter(Protocol):
    async def take(self, caller: str, tier: Tier) -> Taken: ...


def take(full_at: float, now: float, tier: Tier) -> tuple[float, Taken]:
    """Take a token from a bucket that is full at `full_at`, in seconds; return when it is full afterwards."""
    refill = 1 / tier.per_second
    after = max(full_at, now) + refill
    missing = (after - now) - tier.burst * refill
    if missing > 1e-9:
        return full_at, Taken(False, 0, missing, full_at - now)
    return after, Taken(True, int(tier.burst - (after - now) * tier.per_second + 1e-6), 0.0, after - now)


class ProcessLimiter:
    """Buckets of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    async def take(self, caller: str, tier: Tier) -> Taken:
        now = self._clock()
        if len(self._full_at) >= MOST_KEPT:
            self._full_at = {name: when for name, when in self._full_at.items() if when > now}
        self._full_at[caller], taken = take(self._full_at.get(caller, now), now, tier)
        return taken


SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local refill, burst = 1 / ARGV[1], tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
local after = math.max(full_at, now) + refill
local missing = after - now - burst * refill
if missing > 1e-6 then
    return {0, '0', tostring(missing), tostring(full_at - now)}
end
redis.call('SET', KEYS[1], string.format('%.6f', after), 'PX', math.ceil((after - now) * 1000) + 1)
return {1, tostring(math.floor(burst - (after - now) * ARGV[1] + 1e-4)), '0', tostring(after - now)}
"""
"""`take`, as one atomic step by the clock of Redis."""


class RedisLimiter:
    """Buckets shared by all processes; while Redis is away each process limits on its own, and says so."""

    def __init__(self, url: str, breaker: Breaker, patience: float = REDIS_SECONDS) -> None:
        from redis.asyncio import Redis

        self._redis: Any = Redis.from_url(url, socket_timeout=patience, socket_connect_timeout=patience)
        self._script = self._redis.register_script(SCRIPT)
        self._breaker = breaker
        self._alone = ProcessLimiter()

    async def take(self, caller: str, tier: Tier) -> Taken:
        from redis.exceptions import RedisError

        if not self._breaker.allows():
            return await self._alone.take(caller, tier)
        try:
            allowed, remaining, retry, full = await self._script(
                keys=[f"thumbwheel:limit:{caller}"], args=[tier.per_second, tier.burst]
            )
        except (RedisError, OSError) as error:
            return await self._without_redis(caller, tier, error)
        self._breaker.succeeded()
        metrics.DEGRADED.labels("limits").set(0)
        return Taken(bool(allowed), int(remaining), float(retry), float(full))

    async def _without_redis(self, caller: str, tier: Tier, error: Exception) -> Taken:
        self._breaker.failed()
        metrics.DEGRADED.labels("limits").set(1)
        logger.warning("Redis is away (%s); this process limits rates on its own", error)
        return await self._alone.take(caller, tier)
