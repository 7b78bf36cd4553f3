"""What a record says beside its text: whose it is, of when, under which licence, and whether it may be learnt from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from stages.reading.sources import Source
from thumbwheel.records import user_hash

PSEUDONYM = re.compile(r"u-[0-9a-f]{16}")


def has_consent(record: Mapping[str, Any], source: Source) -> bool:
    """Tell whether a row may be learnt from: what it says itself, else what its source says."""
    said = record.get("consent")
    if isinstance(said, str):
        return said.strip().lower() in ("true", "yes", "1")
    return source.consent if said is None else bool(said)


def word_of(record: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of the named fields that says something, None where none does."""
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and (word := value.strip()):
            return word
    return None


def user_of(record: Mapping[str, Any], salt: bytes) -> str | None:
    """Return the pseudonym of a row's user; one that is a pseudonym already, as in feedback, stays as it is."""
    raw = record.get("user")
    if not isinstance(raw, str | int):
        raw = record.get("user_id")
    if not isinstance(raw, str | int) or raw == "":
        return None
    return str(raw) if PSEUDONYM.fullmatch(str(raw)) else user_hash(str(raw), salt)


def users_of(value: Any, salt: bytes) -> Iterator[str]:
    """Yield the pseudonyms of all users whom a record names, its own and those of messages in a tree."""
    if isinstance(value, Mapping):
        if (user := user_of(value, salt)) is not None:
            yield user
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from users_of(inner, salt)


def moment_of(record: Mapping[str, Any]) -> str | None:
    """Return when the row was made in ISO 8601 and UTC, None where it does not say so legibly."""
    raw = record.get("created_at")
    for name in ("created_date", "timestamp"):
        raw = record.get(name) if raw is None else raw
    if raw is None:
        return None
    try:
        if isinstance(raw, int | float):
            moment = datetime.fromtimestamp(raw, UTC)
        else:
            moment = raw if isinstance(raw, datetime) else datetime.fromisoformat(str(raw))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
