"""Run a coroutine on a clock that stands still while anything happens and leaps to the next timer when nothing does."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Idle(selectors.DefaultSelector):
    """Lets time pass instead of waiting for it; only what comes from outside is waited for."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return super().select(0 if timeout is not None else None)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._idle = _Idle()
        super().__init__(self._idle)

    def time(self) -> float:
        return self._idle.now


def run_idle(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end whatever waits only for timers of its own, the same on a slow machine as on a fast one."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(coroutine)
