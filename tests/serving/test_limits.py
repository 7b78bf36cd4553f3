"""Token buckets, in the process and in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from serving import limits
from serving.breaker import Breaker
from serving.limits import ProcessLimiter, RedisLimiter, take
from serving.options import BreakerOptions, Tier
from tests.real_redis import running_redis
from thumbwheel.engine import free_port

TIER = Tier(per_second=2, burst=3, at_once=1)
PATIENT = BreakerOptions(failures=1, rest_seconds=0.01)


def degraded() -> float | None:
    return REGISTRY.get_sample_value("thumbwheel_degraded", {"part": "limits"})


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_served_then_one_answer_a_refill() -> None:
    clock = Clock()
    limiter = ProcessLimiter(clock)
    got = [asyncio.run(limiter.take("a", TIER)) for _ in range(4)]
    assert [(t.allowed, t.remaining) for t in got] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    assert got[3].retry_seconds == pytest.approx(0.5)
    clock.now += got[3].retry_seconds
    assert asyncio.run(limiter.take("a", TIER)).allowed
    assert not asyncio.run(limiter.take("a", TIER)).allowed


def test_callers_do_not_share_a_bucket() -> None:
    limiter = ProcessLimiter(Clock())
    for _ in range(3):
        asyncio.run(limiter.take("a", TIER))
    assert not asyncio.run(limiter.take("a", TIER)).allowed
    assert asyncio.run(limiter.take("b", TIER)).allowed


@given(
    waits=st.lists(st.floats(0, 5), max_size=60),
    per_second=st.floats(0.1, 50),
    burst=st.integers(1, 20),
)
def test_no_stretch_of_time_holds_more_than_the_burst_and_its_refills(
    waits: list[float], per_second: float, burst: int
) -> None:
    tier, now, full_at, allowed = Tier(per_second=per_second, burst=burst, at_once=1), 0.0, 0.0, []
    for wait in waits:
        now += wait
        full_at, taken = take(full_at, now, tier)
        allowed += [now] if taken.allowed else []
        assert 0 <= taken.remaining < burst
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            assert last - first + 1 <= burst + (allowed[last] - allowed[first]) * per_second + 1e-3


@given(waits=st.lists(st.floats(0, 2), min_size=1, max_size=40))
def test_waiting_as_long_as_told_is_always_enough(waits: list[float]) -> None:
    now = full_at = 0.0
    for wait in waits:
        now += wait
        full_at, taken = take(full_at, now, TIER)
        if not taken.allowed:
            now += taken.retry_seconds
            full_at, taken = take(full_at, now, TIER)
            assert taken.allowed


def test_full_buckets_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_KEPT", 10)
    clock = Clock()
    limiter = ProcessLimiter(clock)
    for number in range(100):
        asyncio.run(limiter.take(str(number), TIER))
        clock.now += 1
    assert len(limiter._full_at) <= 10


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    with running_redis(tmp_path) as port:
        yield port


@pytest.mark.slow
def test_processes_on_one_redis_share_one_bucket(redis_port: int) -> None:
    slow = Tier(per_second=0.001, burst=50, at_once=1)

    async def spend() -> list[bool]:
        both = [RedisLimiter(f"redis://127.0.0.1:{redis_port}", Breaker(PATIENT), 30) for _ in range(2)]
        taken = await asyncio.gather(*(both[n % 2].take("a", slow) for n in range(80)))
        other = await both[0].take("b", slow)
        return [t.allowed for t in taken] + [other.allowed]

    got = asyncio.run(spend())
    assert sum(got[:80]) == 50
    assert got[80]


@pytest.mark.slow
def test_redis_and_the_process_count_alike(redis_port: int) -> None:
    slow = Tier(per_second=0.001, burst=5, at_once=1)

    async def both() -> list[tuple[int, bool]]:
        shared, alone = RedisLimiter(f"redis://127.0.0.1:{redis_port}", Breaker(PATIENT), 30), ProcessLimiter()
        pairs = []
        for _ in range(7):
            one, other = await shared.take("a", slow), await alone.take("a", slow)
            assert one.retry_seconds == pytest.approx(other.retry_seconds, abs=10)
            pairs += [((one.remaining, one.allowed), (other.remaining, other.allowed))]
        assert all(one == other for one, other in pairs)
        return [one for one, _ in pairs]

    assert asyncio.run(both()) == [(4, True), (3, True), (2, True), (1, True), (0, True), (0, False), (0, False)]


@pytest.mark.slow
def test_without_redis_a_process_limits_on_its_own_and_goes_back_when_it_can(tmp_path: Path) -> None:
    port = free_port()

    async def outage() -> tuple[list[bool], float, float]:
        limiter = RedisLimiter(f"redis://127.0.0.1:{port}", Breaker(PATIENT), 30)
        alone = [(await limiter.take("a", TIER)).allowed for _ in range(3)]
        away = degraded()
        with running_redis(tmp_path, port):
            await asyncio.sleep(0.05)
            assert (await limiter.take("a", TIER)).remaining == TIER.burst - 1
            back = degraded()
        return alone, away, back

    assert asyncio.run(outage()) == ([True, True, True], 1, 0)
