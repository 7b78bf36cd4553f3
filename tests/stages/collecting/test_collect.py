"""Feedback of the outbox and of files into the lake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stages import collect as module
from stages.arrivals import Arrival
from stages.collect import collect, current_pin, sort_out
from tests.events import feedback_event
from tests.stages.collecting.collected import REPOSITORY, collected, quarantined
from thumbwheel.errors import SourceError
from thumbwheel.forgotten import Forgotten
from thumbwheel.lake import fingerprint, newest, read_table, uri
from thumbwheel.outbox import Outbox
from thumbwheel.records import FEEDBACK, to_table
from thumbwheel.settings import settings

SEED = REPOSITORY / "data" / "seed" / "feedback"


def test_where_there_was_never_any_feedback_there_is_no_pin(place: Path) -> None:
    assert collect() is None


def test_events_of_the_outbox_come_into_the_lake(outbox: Outbox) -> None:
    events = [feedback_event(event_id=name) for name in "ba"]
    for event in events:
        outbox.append(event)

    pin = collect()

    assert pin is not None
    assert pin.rows == 2
    assert read_table(pin).sort_by("event_id").to_pylist() == sorted(events, key=lambda event: event["event_id"])


def test_a_table_of_before_there_were_spans_takes_events_with_them(outbox: Outbox) -> None:
    import deltalake

    old = {name: value for name, value in feedback_event(event_id="old").items() if name != "spans"}
    schema = pa.schema([field for field in FEEDBACK if field.name != "spans"])
    deltalake.write_deltalake(uri("feedback"), to_table([old], schema))
    spans = [{"start": 0, "end": 3, "label": "toxic"}]
    outbox.append(feedback_event(event_id="new", spans=spans))

    pin = collect()

    assert pin is not None
    assert {row["event_id"]: row["spans"] for row in read_table(pin).to_pylist()} == {"old": None, "new": spans}


def test_collecting_again_without_news_gives_the_same_pin(outbox: Outbox) -> None:
    outbox.append(feedback_event())

    assert collect() == collect()


def test_the_fingerprint_is_that_of_the_events_whatever_the_order_of_their_coming(
    outbox: Outbox, tmp_path_factory: pytest.TempPathFactory
) -> None:
    late, early = feedback_event(event_id="x"), feedback_event(event_id="y", created_at="2026-10-01T00:00:00Z")
    outbox.append(late)
    collect()
    outbox.append(early)
    pin = collect()

    ordered = read_table(pin).sort_by([("created_at", "ascending"), ("event_id", "ascending")]) if pin else None

    assert pin is not None
    assert pin.fingerprint == fingerprint(ordered)
    assert ordered["event_id"].to_pylist() == ["y", "x"]


def test_what_was_read_of_an_outbox_is_not_read_again(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.append(feedback_event(event_id="old"))
    collect()
    outbox.append(feedback_event(event_id="new"))
    seen: list[str] = []
    true = sort_out

    def spy(arrivals: list[Arrival], known: set[str], refused: Forgotten) -> Any:
        seen.extend(json.loads(arrival.raw)["event_id"] for arrival in arrivals)
        return true(arrivals, known, refused)

    monkeypatch.setattr(module, "sort_out", spy)
    collect()

    assert seen == ["new"]


def test_an_outbox_made_anew_is_read_from_its_start(outbox: Outbox) -> None:
    for name in ("a", "b"):
        outbox.append(feedback_event(event_id=name))
    collect()
    outbox.close()
    for file in settings().outbox_path.parent.glob("outbox.db*"):
        file.unlink()
    other = Outbox(settings().outbox_path)
    other.append(feedback_event(event_id="c"))

    collect()
    other.close()

    assert collected() == ["a", "b", "c"]


def test_events_of_a_file_and_of_the_outbox_are_one_log(outbox: Outbox, place: Path) -> None:
    (place / "params.yaml").write_text("collect: {files: [seed.jsonl]}\n")
    lines = [json.dumps(feedback_event(event_id=name)) for name in ("a", "b")]
    (place / "seed.jsonl").write_text("\n".join([*lines, "", "no event", lines[0]]) + "\n")
    outbox.append(feedback_event(event_id="b"))
    outbox.append(feedback_event(event_id="c"))

    for _ in range(2):
        collect()

    assert collected() == ["a", "b", "c"]
    assert quarantined().select(["source", "line", "reason"]).to_pylist() == [
        {"source": "seed.jsonl", "line": 4, "reason": "not_json"}
    ]


def test_a_file_that_is_not_there_is_named(place: Path) -> None:
    (place / "params.yaml").write_text("collect: {files: [gone.jsonl]}\n")

    with pytest.raises(SourceError, match=r"gone\.jsonl.*collect\.files"):
        collect()


def test_the_seed_feedback_comes_in_as_planted(place: Path) -> None:
    planted = json.loads((SEED / "PLANTED.json").read_text())
    shutil.copytree(SEED, place / "data" / "seed" / "feedback")
    lines = (SEED / "events.jsonl").read_bytes().splitlines()
    (place / "params.yaml").write_text("collect: {files: [data/seed/feedback/events.jsonl]}\n")

    told = sort_out([Arrival("seed", number, line) for number, line in enumerate(lines, 1)], set())
    pin = collect()

    assert len(lines) == planted["lines"]
    assert told.repeats == planted["repeats"]
    assert pin is not None
    assert pin == current_pin()
    assert pin.rows == planted["events"]
    assert newest("feedback_quarantine") is None
