"""The relay: a thread that carries feedback events from the outbox to Kafka, where there is one.

Delivery is at least once: consumers drop repeats by event id.
"""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from thumbwheel.outbox import Outbox
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from confluent_kafka import Producer

log = logging.getLogger(__name__)

DELIVERY_SECONDS = 30
PAUSE_SECONDS = 1.0
STOP_SECONDS = 5.0


class Delivered(NamedTuple):
    """Offsets of the events that a broker confirmed, in any order, and of those that it will never take."""

    confirmed: list[int]
    too_large: list[int]


class Relay:
    """A thread that carries events from an outbox to Kafka. A broker that is away delays events and loses none.

    An event that is larger than a broker takes stays in the outbox, and holds no other up.

    `tell` hears after every batch whether events wait for a broker that does not take them, and that they do not wait
    here while another process relays them.
    """

    def __init__(
        self, outbox: Outbox, servers: str | None, topic: str, tell: Callable[[bool], None] = lambda is_away: None
    ) -> None:
        self._outbox, self._servers, self._topic, self._tell = outbox, servers, topic, tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox-relay", daemon=True)
        if servers:
            self._thread.start()

    def stop(self) -> None:
        """End the thread; what is not confirmed by then is sent by the next relay."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with _only_relay(self._outbox.path) as alone:
                    if alone:
                        self._relay_until_trouble()
                    else:
                        self._tell(False)  # whoever relays tells now, and what was told here before is past
            except Exception as error:  # the chat goes on without a broker, and the relay tries again
                self._tell(True)
                log.warning("feedback stays in the outbox for now: %s", error)
            self._stopping.wait(PAUSE_SECONDS)

    def _relay_until_trouble(self) -> None:
        """Send batch after batch with one producer; a producer that failed to deliver is not used again."""
        producer = new_producer(str(self._servers))
        while not self._stopping.is_set():
            batch = self._outbox.unsent()
            delivered = deliver(producer, self._topic, batch, self._stopping)
            self._outbox.mark_sent(delivered.confirmed)
            self._set_aside(delivered.too_large)
            is_away = len(delivered.confirmed) + len(delivered.too_large) < len(batch)
            self._tell(is_away and not self._stopping.is_set())
            if is_away:
                producer.purge()
                if not self._stopping.is_set():
                    log.warning(
                        "the broker confirmed %d of %d events; trying again", len(delivered.confirmed), len(batch)
                    )
                return
            self._stopping.wait(PAUSE_SECONDS)

    def _set_aside(self, too_large: Sequence[int]) -> None:
        self._outbox.set_aside(too_large)
        for offset in too_large:
            log.error("event %d of %s is larger than a broker takes, and stays there", offset, self._outbox.path)


def start_relay(outbox: Outbox, tell: Callable[[bool], None]) -> Relay:
    """Start the relay of this process; it does nothing where `THUMBWHEEL_KAFKA_SERVERS` is not set."""
    return Relay(outbox, settings().kafka_servers, settings().kafka_topic, tell)


def new_producer(servers: str) -> Producer:
    """Return a producer that neither reorders nor doubles what it sends within its own life."""
    from confluent_kafka import Producer

    return Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "delivery.timeout.ms": DELIVERY_SECONDS * 1000,
            "log_level": 2,
        }
    )


def deliver(
    producer: Producer, topic: str, batch: Sequence[tuple[int, str, str]], stopping: threading.Event
) -> Delivered:
    """Send events, keyed by event id, and return what became of them; of what is in neither list it is not known.

    Raises:
        confluent_kafka.KafkaException: the producer takes no more.
    """
    from confluent_kafka import KafkaError, KafkaException

    delivered = Delivered([], [])
    for offset, event_id, body in batch:

        def report(error: Any, _: Any, offset: int = offset) -> None:
            if error is None:
                delivered.confirmed.append(offset)
            elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                delivered.too_large.append(offset)

        try:
            producer.produce(topic, body.encode(), key=event_id.encode(), on_delivery=report)
        except KafkaException as error:  # by the producer's own limit, before a broker is asked
            report(error.args[0], None)
            if offset not in delivered.too_large:
                raise
    while len(producer) and not stopping.is_set():
        producer.poll(0.1)
    return delivered


@contextmanager
def _only_relay(path: Path) -> Iterator[bool]:
    """Let one process relay an outbox; others stand by. The lock falls with the process that holds it."""
    with path.with_name(f"{path.name}.relay").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
