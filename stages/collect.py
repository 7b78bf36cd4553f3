"""Collect feedback events from files, the outbox or Kafka into the lake's table `feedback`, each event once.

    python -m stages.collect

A look at the outside world, and so a task before the DVC stages rather than one of them. Killed at any point, the next
run neither loses nor doubles an event: the table takes an event id once, and the place reached in the outbox is stored
in the very commit that adds its events; in Kafka it is stored after that commit.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from thumbwheel.command import run
from thumbwheel.errors import FeedbackError, SourceError
from thumbwheel.forgotten import TABLE as FORGOTTEN_TABLE
from thumbwheel.forgotten import Forgotten, listed
from thumbwheel.lake import TablePin, fingerprint, newest, uri
from thumbwheel.outbox import Outbox, validated
from thumbwheel.params import Params, load_params
from thumbwheel.records import FEEDBACK, QUARANTINE, to_table
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, TopicPartition
    from deltalake import DeltaTable

log = logging.getLogger(__name__)

TABLE = "feedback"
QUARANTINE_TABLE = "feedback_quarantine"
GROUP = "thumbwheel.collect"
OFFSET = "thumbwheel.outbox"
"""Key in a commit's metadata; its value is `IDENTITY:OFFSET` of the outbox read so far."""
BATCH = 5000
ATTEMPTS = 8
BROKER_SECONDS = 15
ROW_LIMIT, DETAIL = 10_000, 500
"""Characters of an event that does not fit, and of why, that are kept."""
NOBODY = Forgotten()


class CollectParams(Params):
    """Event files, one JSON object a line, relative to the root; read beside the outbox or Kafka."""

    files: tuple[str, ...]


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


@dataclass
class Sorted:
    """Arrivals told apart: new events, rows for the quarantine, and how many were repeats."""

    events: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    repeats: int = 0
    forgotten: int = 0


def sort_out(arrivals: Iterable[Arrival], known: set[str], refused: Forgotten = NOBODY) -> Sorted:
    """Tell new events from repeats (by event id, also among themselves) and from rows that do not fit.

    Of users who were forgotten nothing is kept, not even in the quarantine.
    """
    result, seen = Sorted(), set(known)
    for arrival in arrivals:
        try:
            raw = _parsed(arrival.raw)
            if isinstance(raw.get("user"), str) and refused.holds(raw["user"]):
                result.forgotten += 1
                continue
            event = validated(raw)
        except FeedbackError as error:
            result.quarantine.append(_quarantined(arrival, str(error)))
            continue
        if event["event_id"] in seen:
            result.repeats += 1
            continue
        seen.add(event["event_id"])
        result.events.append(event)
    return result


def collect() -> TablePin | None:
    """Bring the lake's feedback up to date and return its pin; None where there has never been any.

    Raises:
        SourceError: a file, the outbox or the broker cannot be read; what was collected before stays.
    """
    params = load_params("collect", CollectParams)
    refused = listed(rows.to_pylist() if (rows := newest(FORGOTTEN_TABLE)) is not None else [])
    known, new, repeats, bad, forgotten = _known(), 0, 0, 0, 0
    for batch in _batches(params):
        told = sort_out(batch.arrivals, known, refused)
        _merge(QUARANTINE_TABLE, to_table(told.quarantine, QUARANTINE), ("source", "line", "row"), {})
        _merge(TABLE, to_table(told.events, FEEDBACK), ("event_id",), batch.metadata)
        batch.confirm()
        known |= {event["event_id"] for event in told.events}
        new, repeats, bad = new + len(told.events), repeats + told.repeats, bad + len(told.quarantine)
        forgotten += told.forgotten
    log.info("feedback: %d new events, %d repeats dropped, %d rows in quarantine", new, repeats, bad)
    if forgotten:
        log.info("feedback: %d events of forgotten users refused", forgotten)
    return current_pin()


def current_pin() -> TablePin | None:
    """Return the pin of the feedback in the lake; its fingerprint is that of the rows by time, then event id."""
    if (table := _open(TABLE)) is None:
        return None
    rows = newest(TABLE)
    assert rows is not None
    ordered = rows.sort_by([("created_at", "ascending"), ("event_id", "ascending")])
    return TablePin(table=TABLE, version=table.version(), rows=rows.num_rows, fingerprint=fingerprint(ordered))


def _batches(params: CollectParams) -> Iterator[Batch]:
    for name in params.files:
        yield Batch(_file_arrivals(name))
    yield from _kafka_batches() if settings().kafka_servers else _outbox_batches()


def _file_arrivals(name: str) -> list[Arrival]:
    path = settings().root / name
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SourceError(
            f"the feedback file {name} cannot be read ({error.strerror}); mend 'collect.files' in params.yaml."
        ) from None
    return [Arrival(name, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _outbox_batches() -> Iterator[Batch]:
    if not settings().outbox_path.exists():
        return
    outbox = Outbox(settings().outbox_path)
    try:
        after = _stored_offset(outbox.identity)
        while rows := outbox.read(after, BATCH):
            after = rows[-1][0]
            arrivals = [Arrival("outbox", offset, json.dumps(event).encode()) for offset, event in rows]
            yield Batch(arrivals, {OFFSET: f"{outbox.identity}:{after}"})
    finally:
        outbox.close()


def _stored_offset(identity: str) -> int:
    """Return how far this outbox was read; 0 where unknown, which costs time only, as repeats are dropped."""
    table = _open(TABLE)
    for commit in table.history() if table else []:
        name, _, offset = str(commit.get(OFFSET, "")).partition(":")
        if name == identity:
            return int(offset)
    return 0


def _kafka_batches() -> Iterator[Batch]:
    """Read each partition from the group's place to its end; the place moves when the lake holds the events."""
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


def _merge(name: str, rows: pa.Table, key: tuple[str, ...], metadata: dict[str, str]) -> None:
    """Add the rows whose key the table lacks, in one commit; a commit that another one overtook is tried again."""
    from deltalake import CommitProperties, DeltaTable
    from deltalake.exceptions import CommitFailedError

    if not rows.num_rows:
        return
    DeltaTable.create(uri(name), rows.schema, mode="ignore")
    for attempt in range(1, ATTEMPTS + 1):
        merger = DeltaTable(uri(name)).merge(
            rows,
            " AND ".join(f"known.{column} = new.{column}" for column in key),
            source_alias="new",
            target_alias="known",
            merge_schema=True,
            commit_properties=CommitProperties(custom_metadata=metadata),
        )
        try:
            merger.when_not_matched_insert_all().execute()
            return
        except CommitFailedError:
            if attempt == ATTEMPTS:
                raise


def _open(name: str) -> DeltaTable | None:
    from deltalake import DeltaTable

    return DeltaTable(uri(name)) if DeltaTable.is_deltatable(uri(name)) else None


def _known() -> set[str]:
    rows = newest(TABLE)
    return set() if rows is None else set(rows["event_id"].to_pylist())


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or a number of more digits than Python reads
        raise FeedbackError(f"not JSON: {error}") from None
    if not isinstance(event, dict):
        raise FeedbackError("not a JSON object.")
    return event


def _quarantined(arrival: Arrival, detail: str) -> dict[str, Any]:
    row, detail = arrival.raw.decode(errors="replace")[:ROW_LIMIT], detail.encode(errors="replace").decode()[:DETAIL]
    reason = "not_json" if detail.startswith("not ") else "unfit"
    return {"source": arrival.source, "line": arrival.line, "reason": reason, "detail": detail, "row": row}


def main() -> None:
    pin = collect()
    print(f"feedback: {pin.rows if pin else 0} events in the lake, version {pin.version if pin else -1}")


if __name__ == "__main__":
    run(main)
