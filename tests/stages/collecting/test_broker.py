"""Feedback of a broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import arrivals as module
from stages.collect import collect
from tests.events import feedback_event, make_topic, running_broker
from tests.stages.collecting.collected import Killed, collected, quarantined
from thumbwheel.errors import SourceError
from thumbwheel.relay import deliver, new_producer
from thumbwheel.settings import settings


def test_a_tombstone_in_kafka_is_passed_over_and_its_place_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Told:
        def __init__(self, offset: int, value: bytes | None) -> None:
            self.told = {"offset": offset, "value": value, "partition": 0, "topic": "t", "error": None}

        def __getattr__(self, name: str) -> Any:
            return lambda: self.told[name]

    class Consumer:
        committed = assign = lambda self, *_, **__: None

        def consume(self, *_: Any, **__: Any) -> list[Told]:
            return [Told(0, None), Told(1, b"{}")]

    monkeypatch.setattr(module, "_partitions", lambda *_: [type("P", (), {"partition": 0})])
    batch = next(module._consumed(Consumer(), "t"))  # type: ignore[arg-type]
    assert [arrival.line for arrival in batch.arrivals] == [1]


def test_a_broker_that_is_away_is_one_clear_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BROKER_SECONDS", 1)
    monkeypatch.setenv("THUMBWHEEL_KAFKA_SERVERS", "127.0.0.1:9")
    settings.cache_clear()

    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9.*cannot be read"):
        collect()


@pytest.mark.slow
def test_events_of_a_broker_come_into_the_lake_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_broker(place / "broker.log") as servers:
        monkeypatch.setenv("THUMBWHEEL_KAFKA_SERVERS", servers)
        settings.cache_clear()
        before_the_topic = collect()
        make_topic(servers, settings().kafka_topic)
        _produce(servers, [feedback_event(event_id=name) for name in "aabc"])
        _produce(servers, ["no event"])
        pin = collect()
        _produce(servers, [feedback_event(event_id=name) for name in "cd"])
        later = collect()

    assert before_the_topic is None
    assert pin is not None
    assert pin.rows == 3
    assert later is not None
    assert collected() == ["a", "b", "c", "d"]
    assert quarantined()["reason"].to_pylist() == ["not_json"]


@pytest.mark.slow
def test_killed_between_the_lake_and_the_broker_nothing_is_doubled(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_broker(place / "broker.log") as servers:
        monkeypatch.setenv("THUMBWHEEL_KAFKA_SERVERS", servers)
        settings.cache_clear()
        make_topic(servers, settings().kafka_topic)
        _produce(servers, [feedback_event(event_id=name) for name in "abc"])

        def die(*_: object) -> Callable[[], None]:
            raise_it = Killed

            def confirm() -> None:
                raise raise_it

            return confirm

        with monkeypatch.context() as patched:
            patched.setattr(module, "_confirmation", die)
            with pytest.raises(Killed):
                collect()
        kept = collected()
        collect()

    assert kept == ["a", "b", "c"]
    assert collected() == ["a", "b", "c"]


def _produce(servers: str, events: list[Any]) -> None:
    import threading

    batch = [(n, str(n), json.dumps(event)) for n, event in enumerate(events)]
    assert len(deliver(new_producer(servers), settings().kafka_topic, batch, threading.Event()).confirmed) == len(batch)
