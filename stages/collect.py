"""Collect feedback events from files, the outbox or Kafka into the lake's table `feedback`, each event once.

    python -m stages.collect

A look at the outside world, and so a task before the DVC stages rather than one of them. Killed at any point, the next
run neither loses nor doubles an event: the table takes an event id once, and the place reached in the outbox is stored
in the very commit that adds its events; in Kafka it is stored after that commit.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stages.arrivals import OFFSET, Arrival, Batch, from_file, from_kafka, from_outbox
from thumbwheel.command import run
from thumbwheel.errors import FeedbackError
from thumbwheel.events import validated
from thumbwheel.forgotten import TABLE as FORGOTTEN_TABLE
from thumbwheel.forgotten import Forgotten, listed
from thumbwheel.lake import TablePin, fingerprint, newest, uri
from thumbwheel.params import Params, load_params
from thumbwheel.records import FEEDBACK, QUARANTINE, to_table
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

log = logging.getLogger(__name__)

TABLE = "feedback"
QUARANTINE_TABLE = "feedback_quarantine"
ATTEMPTS = 8
ROW_LIMIT, DETAIL = 10_000, 500
"""Characters of an event that does not fit, and of why, that are kept."""
NOBODY = Forgotten()


class CollectParams(Params):
    """Event files, one JSON object a line, relative to the root; read beside the outbox or Kafka."""

    files: tuple[str, ...]


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
    yield from map(from_file, params.files)
    yield from from_kafka() if settings().kafka_servers else from_outbox(_stored_offset)


def _stored_offset(identity: str) -> int:
    """Return how far this outbox was read; 0 where unknown, which costs time only, as repeats are dropped."""
    table = _open(TABLE)
    for commit in table.history() if table else []:
        name, _, offset = str(commit.get(OFFSET, "")).partition(":")
        if name == identity:
            return int(offset)
    return 0


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
