"""What was collected, and events as they arrive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.arrivals import Arrival
from thumbwheel.lake import newest

REPOSITORY = Path(__file__).parents[3]


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code may catch it."""


def arrivals(events: list[Any]) -> list[Arrival]:
    return [Arrival("file", line, json.dumps(event).encode()) for line, event in enumerate(events, 1)]


def collected() -> list[str]:
    rows = newest("feedback")
    return [] if rows is None else sorted(rows["event_id"].to_pylist())


def quarantined() -> pa.Table:
    rows = newest("feedback_quarantine")
    assert rows is not None
    return rows
