"""Events on their way from the outbox to a broker: a real one, none, or one that comes late."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.events import feedback_event, make_topic, running_broker
from tests.waiting import PATIENCE, eventually
from thumbwheel import relay as relay_module
from thumbwheel.engine import free_port
from thumbwheel.outbox import Outbox
from thumbwheel.relay import Delivered, Relay, start_relay

TOPIC = "feedback-test"


def test_without_a_broker_named_the_relay_does_nothing(workspace: Path) -> None:
    outbox = Outbox(workspace / "outbox.db")
    outbox.append(feedback_event())
    told: list[bool] = []

    relay = start_relay(outbox, told.append)
    relay.stop()

    assert len(outbox.unsent()) == 1
    assert told == []


def test_a_broker_that_is_away_neither_blocks_an_append_nor_loses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, never = threading.Event(), threading.Event()

    def deliver(*_: object) -> Delivered:
        waiting.set()
        never.wait()
        return Delivered([], [])

    monkeypatch.setattr(relay_module, "deliver", deliver)
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.append(feedback_event())
    relay = Relay(outbox, f"127.0.0.1:{free_port()}", TOPIC)
    assert waiting.wait(PATIENCE)

    outbox.append(feedback_event())
    assert len(outbox.unsent()) == 2
    never.set()
    relay.stop()


def _producer_of_a_broker_within(servers: str) -> Any:
    from confluent_kafka import Producer

    return Producer({"test.mock.num.brokers": 1, "enable.idempotence": True, "log_level": 0})


def test_an_event_that_no_broker_takes_holds_none_up_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay_module, "new_producer", _producer_of_a_broker_within)
    outbox, told = Outbox(tmp_path / "outbox.db"), list[bool]()
    for reply in ("Two years.", "x" * 1_100_000, "A year."):
        outbox.append(feedback_event(reply=reply))
    with _relaying(outbox, "within", told.append):
        assert eventually(lambda: not outbox.unsent())
        assert eventually(lambda: told)
    assert "event 2 of" in caplog.text
    assert len(outbox.read()) == 3
    assert True not in told


@contextmanager
def _relaying(outbox: Outbox, servers: str, tell: Callable[[bool], None] = lambda is_away: None) -> Iterator[None]:
    relay = Relay(outbox, servers, TOPIC, tell)
    try:
        yield
    finally:
        relay.stop()


def _on_topic(servers: str) -> list[str]:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.partition.eof": True})
    partitions = consumer.list_topics(TOPIC, timeout=60).topics[TOPIC].partitions
    consumer.assign([TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in partitions])
    names, ended, deadline = [], set(), time.monotonic() + 90
    while len(ended) < len(partitions) and time.monotonic() < deadline:
        for message in consumer.consume(100, 0.2):
            if message.error():
                ended.add(message.partition())
            else:
                names.append(json.loads(message.value())["event_id"])
    consumer.close()
    return names


@pytest.mark.slow
def test_events_written_while_the_broker_was_away_reach_it_when_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay_module, "DELIVERY_SECONDS", 2)
    outbox, port, told = Outbox(tmp_path / "outbox.db"), free_port(), list[bool]()
    with _relaying(outbox, f"127.0.0.1:{port}", told.append):
        for number in range(30):
            outbox.append(feedback_event(event_id=str(number)))
        assert eventually(lambda: "the broker confirmed 0 of" in caplog.text)
        before = len(outbox.unsent())

        with running_broker(tmp_path / "broker.log", port) as servers:
            make_topic(servers, TOPIC)
            sent = eventually(lambda: not outbox.unsent())
            names = _on_topic(servers)
            assert eventually(lambda: told[-1] is False)

    assert before == 30
    assert True in told
    assert sent
    assert set(names) == {str(number) for number in range(30)}


def test_who_stands_by_says_no_more_that_a_broker_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("no producer")

    monkeypatch.setattr(relay_module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(relay_module, "new_producer", broken)
    outbox, told = Outbox(tmp_path / "outbox.db"), list[bool]()
    with _relaying(outbox, "anywhere:9092", told.append):
        assert eventually(lambda: True in told)
        assert eventually(lambda: _stands_by(outbox, told))


def _stands_by(outbox: Outbox, told: list[bool]) -> bool:
    """Relay, where the turn comes, in another's stead for long enough that they say something."""
    with relay_module._only_relay(outbox.path) as alone:
        return alone and eventually(lambda: told[-1] is False)


@pytest.mark.slow
def test_two_relays_of_one_outbox_send_each_event_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    with running_broker(tmp_path / "broker.log") as servers:
        make_topic(servers, TOPIC)
        with _relaying(outbox, servers), _relaying(Outbox(tmp_path / "outbox.db"), servers):
            for number in range(20):
                outbox.append(feedback_event(event_id=str(number)))
            assert eventually(lambda: not outbox.unsent())
        names = _on_topic(servers)

    assert sorted(names, key=int) == [str(number) for number in range(20)]


def test_a_stopped_relay_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    with _relaying(Outbox(tmp_path / "outbox.db"), f"127.0.0.1:{free_port()}"):
        during = set(threading.enumerate())

    assert "outbox-relay" in {thread.name for thread in during - before}
    assert eventually(lambda: "outbox-relay" not in {thread.name for thread in set(threading.enumerate()) - before})
