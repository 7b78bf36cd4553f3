"""Collecting that is cut off, and twice at once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages import collect as module
from stages.arrivals import Arrival, Batch
from stages.collect import collect
from tests.events import feedback_event
from tests.stages.collecting.collected import REPOSITORY, Killed, collected, quarantined
from tests.waiting import eventually
from thumbwheel.outbox import Outbox


@pytest.mark.parametrize("step", ["quarantine", "feedback", "confirm"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_around_any_step_the_next_run_loses_and_doubles_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    place_reached = 0
    log = [json.dumps(feedback_event(event_id=name)).encode() for name in "abc"] + [b"broken"]

    def batches(_: object) -> Iterator[Batch]:
        """A log of which the reader's place moves on confirmation, as in Kafka."""
        while place_reached < len(log):
            upto = place_reached + 2
            arrivals = [Arrival("log", n, log[n]) for n in range(place_reached, upto)]
            yield Batch(arrivals, confirm=mortal("confirm", lambda upto=upto: move(upto)))

    def move(upto: int) -> None:
        nonlocal place_reached
        place_reached = upto

    def mortal(name: str, act: Callable[[], None]) -> Callable[[], None]:
        def acted() -> None:
            if armed and name == step and not after:
                raise Killed
            act()
            if armed and name == step:
                raise Killed

        return acted

    true_merge = module._merge

    def merge(name: str, *rest: Any) -> None:
        mortal({"feedback": "feedback"}.get(name, "quarantine"), lambda: true_merge(name, *rest))()

    monkeypatch.setattr(module, "_batches", batches)
    monkeypatch.setattr(module, "_merge", merge)
    armed = True
    with pytest.raises(Killed):
        collect()

    armed = False
    collect()

    assert collected() == ["a", "b", "c"]
    assert quarantined().num_rows == 1


@pytest.mark.slow
def test_killed_by_the_system_at_random_moments_it_completes_in_the_end(outbox: Outbox, place: Path) -> None:
    names = sorted(f"{number:03}" for number in range(300))
    for name in names:
        outbox.append(feedback_event(event_id=name))
    code = "import stages.collect as c; from thumbwheel.command import run; c.BATCH = 20; run(c.main)"
    chance = random.Random(5)

    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
        _wait_for_a_commit(place, process)
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
    collect()

    assert collected() == names


def _wait_for_a_commit(place: Path, process: subprocess.Popen[bytes]) -> None:
    def commits() -> int:
        return len(list((place / "data" / "lake").glob("*/_delta_log/*.json")))

    before = commits()
    assert eventually(lambda: process.poll() is not None or commits() > before)


@pytest.mark.slow
def test_two_collectors_at_once_neither_lose_nor_double(outbox: Outbox, place: Path) -> None:
    names = sorted(f"{number:03}" for number in range(200))
    for name in names:
        outbox.append(feedback_event(event_id=name))
    code = "import stages.collect as c; from thumbwheel.command import run; c.BATCH = 20; run(c.main)"

    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY) for _ in range(3)]
    statuses = [process.wait() for process in processes]

    assert statuses == [0, 0, 0]
    assert collected() == names
