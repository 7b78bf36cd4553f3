"""Count how many of the defects that were planted in the seed data each stage caught.

python -m thumbwheel.planted     # prints one line a kind
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thumbwheel.command import run
from thumbwheel.errors import PinError
from thumbwheel.lake import TablePin, read_pin, read_table
from thumbwheel.settings import settings

SEED = "data/seed"
TABLES = {
    "ingest": ("origins", "quarantine"),
    "dedup": ("conversations", "dropped"),
    "scrub": ("conversations", "findings"),
    "grade": ("conversations", "rejected"),
    "split": ("conversations", "dropped"),
    "pairs": ("preferences", "unpaired"),
}
"""What the count reads; a stage that has not run is left out."""

Rows = Sequence[Mapping[str, Any]]
Tables = Mapping[str, Rows]
"""Rows by `stage.table`."""
Defect = Mapping[str, Any]


def count_caught(planted: Sequence[Defect], tables: Tables) -> dict[str, tuple[int, int]]:
    """Return (caught, planted) by kind, as `PLANTED.json` of the seed data lists them.

    A defect counts as caught where the stage that answers for it dealt with its very row. Kinds of which no stage's
    tables are there are left out, so that a run that was cut short does not read as one that missed.
    """
    trace = Trace(tables)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for defect in planted:
        needs, caught = CHECKS[defect["kind"]]
        if needs in tables:
            counts[defect["kind"]][0] += caught(trace, defect)
            counts[defect["kind"]][1] += 1
    return {kind: (caught, total) for kind, (caught, total) in counts.items()}


def missed(planted: Sequence[Defect], tables: Tables) -> list[Defect]:
    """Return the planted defects that were not caught."""
    trace = Trace(tables)
    checks = ((defect, *CHECKS[defect["kind"]]) for defect in planted)
    return [defect for defect, needs, caught in checks if needs in tables and not caught(trace, defect)]


class Trace:
    """Where each row of the seed files went."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.ids = {(o["file"], o["row"]): o["id"] for o in self["ingest.origins"] if o["table"] == "conversations"}
        self.quarantined = {(q["source"].split(":", 1)[-1], q["line"]): q["reason"] for q in self["ingest.quarantine"]}
        self.dropped = defaultdict(list)
        for drop in self["dedup.dropped"]:
            self.dropped[drop["id"]].append(drop)
        self.scrubbed = {row["id"]: _text(row) for row in self["scrub.conversations"]}
        self.rejected = {row["id"] for row in self["grade.rejected"]}
        self.split = {row["id"] for row in self["split.conversations"]}
        self.events = Counter(event["event_id"] for event in self["collect.feedback"])
        self.unpaired = {event["event_id"] for event in self["pairs.unpaired"]}
        self.paired = {pair["rejected"] for pair in self["pairs.preferences"]}

    def __getitem__(self, name: str) -> Rows:
        return self.tables.get(name, ())

    def id_of(self, place: Mapping[str, Any]) -> str | None:
        return self.ids.get((f"{SEED}/{place['file']}", place["row"]))


def _bad_row(trace: Trace, defect: Defect) -> bool:
    place = (f"{SEED}/{defect['file']}", defect["row"])
    return trace.quarantined.get(place) == defect["detail"]["why"]


def _duplicate(trace: Trace, defect: Defect) -> bool:
    """Caught where one of the two rows was dropped in a cluster with the other, for whichever was kept."""
    reason = defect["kind"].removesuffix("_duplicate")
    mine, other = trace.id_of(defect), trace.id_of(defect["detail"]["of"])
    for one, two in ((mine, other), (other, mine)):
        for drop in trace.dropped.get(one or "", ()):
            keepers = {d["keeper"] for d in trace.dropped.get(two or "", ())}
            if drop["reason"] == reason and (drop["keeper"] == two or drop["keeper"] in keepers):
                return True
    return False


def _pii(trace: Trace, defect: Defect) -> bool:
    """Caught where the value is gone from the row, or the row is a duplicate that went before."""
    found = trace.id_of(defect)
    if found is None or (found not in trace.scrubbed and found not in trace.dropped):
        return False
    return defect["detail"]["value"] not in trace.scrubbed.get(found, "")


def _graded(trace: Trace, defect: Defect) -> bool:
    return trace.id_of(defect) in trace.rejected


def _leaked(trace: Trace, defect: Defect) -> bool:
    """Caught where nothing of the row is learnt from: dropped as leaked, or turned away before."""
    found = trace.id_of(defect)
    return found is not None and found not in trace.split


def _repeat(trace: Trace, defect: Defect) -> bool:
    return trace.events[defect["detail"]["event_id"]] == 1


def _no_consent(trace: Trace, defect: Defect) -> bool:
    return defect["detail"]["event_id"] not in trace.unpaired and defect["detail"]["reply"] not in trace.paired


CHECKS: dict[str, tuple[str, Callable[[Trace, Defect], bool]]] = {
    "bad_row": ("ingest.quarantine", _bad_row),
    "exact_duplicate": ("dedup.dropped", _duplicate),
    "near_duplicate": ("dedup.dropped", _duplicate),
    "pii": ("scrub.conversations", _pii),
    "truncated": ("grade.rejected", _graded),
    "low_quality": ("grade.rejected", _graded),
    "leaked_eval": ("split.conversations", _leaked),
    "feedback_repeat": ("collect.feedback", _repeat),
    "feedback_no_consent": ("pairs.preferences", _no_consent),
}


def report() -> dict[str, tuple[int, int]]:
    """Return (caught, planted) by kind for the last run, {} where the seed data is not what was ingested."""
    tables = last_tables()
    ingested = {origin["file"] for origin in tables.get("ingest.origins", ())}
    planted = planted_rows(settings().root)
    if not planted or not {f"{SEED}/{defect['file']}" for defect in planted} <= ingested:
        return {}
    return count_caught(planted + planted_events(settings().root), tables)


def last_tables() -> dict[str, Rows]:
    """Return the tables of `TABLES` as the last run's pins have them."""
    found: dict[str, Rows] = {}
    for stage, names in TABLES.items():
        try:
            pins = read_pin(stage).tables
        except PinError:
            continue
        found |= {f"{stage}.{name}": read_table(pins[name]).to_pylist() for name in names if name in pins}
    return found | _collected()


def _collected() -> dict[str, Rows]:
    listed = settings().inputs / "feedback.json"
    pin = TablePin.model_validate_json(listed.read_text()) if listed.is_file() else None
    return {"collect.feedback": read_table(pin).to_pylist()} if pin and pin.version >= 0 else {}


def planted_rows(root: Path) -> list[Defect]:
    """Return the defects that `PLANTED.json` under a root lists, none where there is no such file."""
    listed = root / SEED / "PLANTED.json"
    return list(json.loads(listed.read_text())["defects"]) if listed.is_file() else []


def planted_events(root: Path) -> list[Defect]:
    """Return the defects of the seed's feedback: events that stand there twice, and events without consent."""
    listed = root / SEED / "feedback" / "events.jsonl"
    if not listed.is_file():
        return []
    seen: set[str] = set()
    defects: list[Defect] = []
    for line in listed.read_text().splitlines():
        event = json.loads(line)
        detail = {"event_id": event["event_id"], "reply": event["reply"]}
        if event["event_id"] in seen:
            defects.append({"kind": "feedback_repeat", "detail": detail})
        elif not event["consent"]:
            defects.append({"kind": "feedback_no_consent", "detail": detail})
        seen.add(event["event_id"])
    return defects


def main() -> None:
    """Print how many defects of each kind were caught."""
    for kind, (caught, total) in report().items():
        print(f"{kind}: {caught} of {total}")


def _text(row: Mapping[str, Any]) -> str:
    return "\n".join(message["content"] for message in row["messages"])


if __name__ == "__main__":
    run(main)
