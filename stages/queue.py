"""The review queue that feedback gives: disliked replies that nothing has bettered. Used by `stages.pairs`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from stages.best_of_n import Resampled
from stages.evidence import Event, Evidence, Key, key_of, time_of
from thumbwheel.records import preference_id

Row = dict[str, Any]


def queued(events: Sequence[Event], fresh: Mapping[Key, Resampled], evidence: Evidence) -> list[Row]:
    """Return a row of `QUEUED` for each reply to a prompt among disliked events, by time, then by id.

    The other reply is another try of the same message, where there was one, else the sample that the judge thought of
    most. Skipped and undecided ones stay in the queue; the service knows who has seen them.
    """
    alike: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        alike[preference_id(event["prompt"], "", event["reply"])].append(event)
    rows = [_row(name, same, fresh, evidence) for name, same in alike.items()]
    return sorted(rows, key=lambda row: (time_of(row), row["id"]))


def _row(name: str, same: Sequence[Event], fresh: Mapping[Key, Resampled], evidence: Evidence) -> Row:
    newest = same[0]
    sample = fresh.get(key_of(newest), Resampled())
    other, doubt = _second_try(newest, evidence), 1.0
    if other is None:
        other, doubt = sample.other, sample.doubt
    spans = [span for event in same for span in event.get("spans") or ()]
    reasons = {reason for event in same for reason in evidence.reasons[key_of(event)]}
    kept = ("conversation_id", "message_id", "user", "prompt", "reply", "model", "arm", "created_at")
    told = {"id": name, "other": other, "doubt": doubt, "dislikes": len(same), "reasons": sorted(reasons)}
    return {**{column: newest[column] for column in kept}, **told, "spans": spans or None}


def _second_try(event: Event, evidence: Evidence) -> str | None:
    """Return the reply that was given in the place of a disliked one and that nobody has judged, if it is another."""
    user, message = key_of(event)
    tries = [evidence.disliked.get((user, new)) for new in evidence.successors.get((user, message), [])]
    texts = [other["reply"] for other in tries if other and other["reply"] != event["reply"]]
    return texts[-1] if texts else None
