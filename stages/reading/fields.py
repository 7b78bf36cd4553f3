"""What a record says beside its text: whose it is, of when, under which licence, and whether it may be learnt from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from stages.reading.sources import Source
from thumbwheel.records import user_hash

PSEUDONYM = re.compile(r"u-[0-9a-f]{16}")
MILLISECONDS = 1e11
"""A greater number of seconds is of the year 5138 or later; as milliseconds it is of 1973 or later."""
COUNTED = re.compile(r"[0-9]{9,13}(?:\.[0-9]+)?", re.ASCII)
"""Such a number as text, which is all that a CSV holds."""
EXACT = 2**53
"""From here on a fraction of Python's no longer tells one whole number from the next."""


def has_consent(record: Mapping[str, Any], source: Source) -> bool:
    """Tell whether a row may be learnt from: what it says itself, else what its source says."""
    said = record.get("consent")
    if isinstance(said, str):
        said = said.strip().lower() or None
    if said is None or said != said:  # a number that is none, as a table has it where nothing is said
        return source.consent
    return said in (True, "true", "yes", "1")


def word_of(record: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of the named fields that says something, None where none does; of a list, all its words."""
    for name in names:
        value = record.get(name)
        if isinstance(value, list):
            value = ", ".join(word.strip() for word in value if isinstance(word, str) and word.strip())
        if isinstance(value, str) and (word := value.strip()):
            return word
    return None


def user_of(record: Mapping[str, Any], salt: bytes) -> str | None:
    """Return the pseudonym of a row's user; one that is a pseudonym already, as in feedback, stays as it is."""
    raw = _name(record.get("user")) or _name(record.get("user_id"))
    return raw if raw is None or PSEUDONYM.fullmatch(raw) else user_hash(raw, salt)


def _name(raw: Any) -> str | None:
    """Return what stands for a user as text; a column of numbers with gaps has made a fraction of a whole one."""
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < EXACT:
        raw = int(raw)
    return str(raw) if isinstance(raw, str | int) and raw != "" else None


def users_of(value: Any, salt: bytes) -> Iterator[str]:
    """Yield the pseudonyms of all users whom a record names, its own and those of messages in a tree.

    A record may be nested deeper than Python's calls may be.
    """
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, Mapping):
            if (user := user_of(inner, salt)) is not None:
                yield user
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner


def moment_of(record: Mapping[str, Any]) -> str | None:
    """Return when the row was made in ISO 8601 and UTC, None where it does not say so legibly.

    A number counts seconds since 1970, or milliseconds where it is too large for seconds.
    """
    raw = record.get("created_at")
    for name in ("created_date", "timestamp"):
        raw = record.get(name) if raw is None else raw
    if raw is None:
        return None
    try:
        if isinstance(raw, str) and COUNTED.fullmatch(raw.strip()):
            raw = float(raw)
        if isinstance(raw, int | float):
            moment = datetime.fromtimestamp(raw / 1000 if raw > MILLISECONDS else raw, UTC)
        else:
            moment = raw if isinstance(raw, datetime) else datetime.fromisoformat(str(raw))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
