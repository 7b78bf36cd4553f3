from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.breaker import Breaker
from serving.options import BreakerOptions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def breaker(failures: int = 3, rest_seconds: float = 10) -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(BreakerOptions(failures=failures, rest_seconds=rest_seconds), clock), clock


def test_it_opens_after_failures_in_a_row_and_a_success_between_them_starts_the_count_anew() -> None:
    guard, _ = breaker()
    for outcome in ("failed", "failed", "succeeded", "failed", "failed"):
        assert guard.allows()
        getattr(guard, outcome)()
    assert guard.allows()
    guard.failed()
    assert not guard.allows()
    assert guard.retry_seconds() == 10


def test_after_a_rest_one_try_goes_through_and_decides() -> None:
    guard, clock = breaker(failures=1)
    guard.failed()
    clock.now = 10
    assert [guard.allows(), guard.allows()] == [True, False]
    guard.failed()
    clock.now = 19.9
    assert not guard.allows()
    clock.now = 20
    assert guard.allows()
    guard.succeeded()
    assert [guard.allows(), guard.allows()] == [True, True]


def test_a_try_that_never_ends_does_not_keep_it_open_for_ever() -> None:
    guard, clock = breaker(failures=1)
    guard.failed()
    clock.now = 10
    assert guard.allows()
    clock.now = 20
    assert guard.allows()


@given(st.lists(st.sampled_from(["failed", "succeeded", "wait"]), max_size=60))
def test_it_is_open_exactly_after_three_failures_in_a_row(events: list[str]) -> None:
    guard, clock = breaker()
    row = 0
    for event in events:
        if event == "wait":
            clock.now += 1
            continue
        getattr(guard, event)()
        row = row + 1 if event == "failed" else 0
        assert guard.is_open == (row >= 3)
