"""Feedback events as they come, batch by batch: from files, the outbox or Kafka.

Used by `stages.collect`, which says when a batch is in the lake.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from thumbwheel.errors import SourceError
from thumbwheel.outbox import Outbox
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, TopicPartition

GROUP = "thumbwheel.collect"
OFFSET = "thumbwheel.outbox"
"""Key in a commit's metadata; its value is `IDENTITY:OFFSET` of the outbox read so far."""
BATCH = 5000
BROKER_SECONDS = 15


@dataclass(frozen=True)
class Arrival:
    """One event as it came: where it stood, and its bytes."""

    source: str
    line: int
    raw: bytes


@dataclass(frozen=True)
class Batch:
    """Arrivals, what their commit must remember, and what is to be done once they are in the lake."""

    arrivals: list[Arrival]
    metadata: dict[str, str] = field(default_factory=dict)
    confirm: Callable[[], None] = lambda: None


def from_file(name: str) -> Batch:
    """Return the events of a file, one a line.

    Raises:
        SourceError: it cannot be read.
    """
    path = settings().root / name
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SourceError(
            f"the feedback file {name} cannot be read ({error.strerror}); mend 'collect.files' in params.yaml."
        ) from None
    return Batch([Arrival(name, number, line) for number, line in enumerate(lines, 1) if line.strip()])


def from_outbox(stored_offset: Callable[[str], int]) -> Iterator[Batch]:
    """Yield the events behind the offset that is stored for an outbox of a name; each commit is to remember its own."""
    if not settings().outbox_path.exists():
        return
    outbox = Outbox(settings().outbox_path)
    try:
        after = stored_offset(outbox.identity)
        while rows := outbox.read(after, BATCH):
            after = rows[-1][0]
            arrivals = [Arrival("outbox", offset, json.dumps(event).encode()) for offset, event in rows]
            yield Batch(arrivals, {OFFSET: f"{outbox.identity}:{after}"})
    finally:
        outbox.close()


def from_kafka() -> Iterator[Batch]:
    """Read each partition from the group's place to its end; the place moves when the lake holds the events.

    Raises:
        SourceError: the broker cannot be read.
    """
    from confluent_kafka import Consumer, KafkaException

    servers, topic = settings().kafka_servers, settings().kafka_topic
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": GROUP,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "log_level": 2,
        }
    )
    try:
        yield from _consumed(consumer, topic)
    except KafkaException as error:
        raise SourceError(
            f"the broker {servers} (THUMBWHEEL_KAFKA_SERVERS) cannot be read: {error.args[0].str()}; "
            "start it, or unset the variable to use the outbox. No event is lost."
        ) from None
    finally:
        consumer.close()


def _consumed(consumer: Consumer, topic: str) -> Iterator[Batch]:
    partitions = _partitions(consumer, topic)
    consumer.assign(consumer.committed(partitions, timeout=BROKER_SECONDS))
    open_ = {partition.partition for partition in partitions}
    while open_:
        heard = consumer.consume(BATCH, timeout=1.0) or consumer.consume(1, timeout=BROKER_SECONDS)
        if not heard:
            raise SourceError(f"the broker fell silent while {topic} was read; try again. No event is lost.")
        if messages := [message for message in heard if not _ended(message, open_)]:
            told = [_arrival(message) for message in messages if message.value() is not None]  # null: an erased event
            yield Batch(told, confirm=_confirmation(consumer, messages))


def _arrival(message: Message) -> Arrival:
    return Arrival(f"kafka:{message.topic()}/{message.partition()}", int(message.offset() or 0), message.value() or b"")


def _partitions(consumer: Consumer, topic: str) -> list[TopicPartition]:
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    known = consumer.list_topics(topic, timeout=BROKER_SECONDS).topics[topic]
    if known.error is not None and known.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return []
    if known.error is not None:
        raise KafkaException(known.error)
    return [TopicPartition(topic, number) for number in known.partitions]


def _ended(message: Message, open_: set[int]) -> bool:
    """Say whether a message is but the mark of a partition's end; raise where it is an error."""
    from confluent_kafka import KafkaError, KafkaException

    if (error := message.error()) is None:
        return False
    if error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    open_.discard(message.partition())
    return True


def _confirmation(consumer: Consumer, messages: Iterable[Message]) -> Callable[[], None]:
    """Return what stores, for the group, the place behind these messages."""
    from confluent_kafka import TopicPartition

    behind = {(str(m.topic()), int(m.partition() or 0)): int(m.offset() or 0) + 1 for m in messages}
    places = [TopicPartition(*where, offset) for where, offset in behind.items()]

    def confirm() -> None:
        consumer.commit(offsets=places, asynchronous=False)

    return confirm
