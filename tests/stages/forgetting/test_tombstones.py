"""A forgotten user's events in Kafka: a tombstone for each, on a real broker, or an error that says so."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from stages.collect import collect
from stages.forgetting import stores
from tests.events import feedback_event, make_topic, running_broker
from tests.stages.forgetting.test_traces import traces
from tests.waiting import eventually
from thumbwheel import relay
from thumbwheel.errors import SourceError
from thumbwheel.lake import newest
from thumbwheel.settings import settings

TOPIC = "thumbwheel.feedback"


@pytest.fixture
def place(workspace: Path) -> Path:
    (workspace / "params.yaml").write_text("collect: {files: []}\n")
    return workspace


def named(monkeypatch: pytest.MonkeyPatch, servers: str) -> None:
    monkeypatch.setenv("THUMBWHEEL_KAFKA_SERVERS", servers)
    settings.cache_clear()


@pytest.mark.slow
def test_on_a_real_broker_what_is_read_last_of_a_forgotten_users_event_is_a_tombstone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_broker(place / "broker.log") as servers:
        named(monkeypatch, servers)
        make_topic(servers, TOPIC)
        _send(servers, ["mine-1", "theirs", "mine-2"])
        found = list(stores.bury(traces(events={"mine-1", "mine-2"}), True))
        standing = _last_of_each_key(servers, 5)
        pin = collect()

    assert [tuple(one) for one in found] == [("kafka tombstones", TOPIC, 2)]
    assert {key for key, value in standing.items() if value is None} == {"mine-1", "mine-2"}
    assert json.loads(standing["theirs"] or "")["event_id"] == "theirs"
    assert pin is not None
    assert newest("feedback_quarantine") is None


def test_a_broker_that_took_no_tombstone_stops_the_erasure(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "127.0.0.1:9")
    monkeypatch.setattr(relay, "DELIVERY_SECONDS", 1)
    with pytest.raises(SourceError, match="took no tombstones for 1 events; start it and forget again"):
        list(stores.bury(traces(events={"e-1"}), True))


def _send(servers: str, names: list[str]) -> None:
    batch = [(n, name, json.dumps(feedback_event(event_id=name))) for n, name in enumerate(names)]
    assert len(relay.deliver(relay.new_producer(servers), TOPIC, batch, threading.Event()).confirmed) == len(batch)


def _last_of_each_key(servers: str, messages: int) -> dict[str, bytes | None]:
    """Read so many messages from the beginning; return what a compacted topic would keep of each key."""
    from confluent_kafka import Consumer

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    read: list[Any] = []
    assert eventually(lambda: read.extend(consumer.consume(messages, 0.2)) or len(read) >= messages)
    consumer.close()
    return {message.key().decode(): message.value() for message in sorted(read, key=lambda one: one.offset())}
