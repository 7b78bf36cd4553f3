"""Delta tables as sources, read at a version and in an order that stays; among them the lake's own feedback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from stages.evidence import weigh, when
from stages.reading.containers import Record, rows_of
from thumbwheel.errors import SourceError
from thumbwheel.lake import uri as lake_uri
from thumbwheel.settings import settings
from thumbwheel.versions import open_table, ordered, scan

FEEDBACK = "feedback://"


def is_table(uri: str) -> bool:
    return uri.startswith(("delta://", "delta+s3://", FEEDBACK))


def find_tables(uri: str) -> list[dict[str, Any]]:
    """Return the table that `uri` names, as `uri@version` with the table's own id; `@version` defaults to the newest.

    Raises:
        SourceError: there is no such table.
    """
    place, version = _parts(uri)
    if (table := open_table(_address(place))) is None:
        raise SourceError(f"source '{uri}': there is no Delta table; mend its uri in params.yaml or write the table.")
    return [{"uri": f"{place}@{table.version() if version is None else version}", "table": str(table.metadata().id)}]


def read_records(uri: str) -> Iterator[Record]:
    """Yield the rows of a table at the version that `uri` names; a column that an older file lacks is null there.

    Raises:
        SourceError: the version is gone, or uses a feature of Delta that cannot be read.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    place, version = _parts(uri)
    try:
        rows = _rows(DeltaTable(_address(place), version=version))
        yield from (Record(row, value) for row, value in enumerate(_liked(rows) if place == FEEDBACK else rows))
    except (DeltaError, OSError) as error:
        raise SourceError(f"source '{uri}' cannot be read ({error}); restore the table, or observe again.") from None


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    dataset = ordered(table)
    for batch in scan(dataset, dataset.schema.names):
        yield from rows_of(batch)


def _liked(events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield, oldest first, the conversations whose last opinion is a thumb up and whose owner consents."""
    liked = weigh(sorted(events, key=when), timedelta(0), Counter()).liked.values()
    for event in sorted(liked, key=when):
        yield {
            "messages": [*event["prompt"], {"role": "assistant", "content": event["reply"]}],
            "user": event["user"],
            "created_at": event["created_at"],
            "consent": event["consent"],
        }


def _parts(uri: str) -> tuple[str, int | None]:
    place, mark, version = uri.rpartition("@")
    if not mark:
        return uri, None
    if not version.isdigit():
        raise SourceError(f"source '{uri}': '{version}' is no version of a table; write @7, or leave it out.")
    return place, int(version)


def _address(place: str) -> str:
    if place == FEEDBACK:
        return lake_uri("feedback")
    if place.startswith("delta+"):
        return place.removeprefix("delta+")
    return str(settings().root / place.removeprefix("delta://"))
