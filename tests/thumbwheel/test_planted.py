"""The count of caught defects: what counts, what does not, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thumbwheel.planted import count_caught, missed, report

FILE = "conversations/a.jsonl"


def defect(kind: str, row: int, **detail: Any) -> dict[str, Any]:
    return {"kind": kind, "file": FILE, "row": row, "detail": detail}


def origins(*ids: str) -> list[dict[str, Any]]:
    """Origins of rows 0, 1, … of the file."""
    return [{"id": i, "table": "conversations", "file": f"data/seed/{FILE}", "row": n} for n, i in enumerate(ids)]


def quarantined(row: int, reason: str) -> dict[str, Any]:
    return {"source": f"support:data/seed/{FILE}", "line": row, "reason": reason}


def dropped(name: str, keeper: str, reason: str) -> dict[str, Any]:
    return {"id": name, "keeper": keeper, "reason": reason}


def chat(name: str, text: str) -> dict[str, Any]:
    return {"id": name, "messages": [{"role": "user", "content": text}]}


OF = {"file": FILE, "row": 0}


@pytest.mark.parametrize(
    ("planted", "tables", "caught"),
    [
        (defect("bad_row", 3, why="json"), {"ingest.quarantine": [quarantined(3, "json")]}, 1),
        (defect("bad_row", 3, why="json"), {"ingest.quarantine": [quarantined(3, "role")]}, 0),
        (defect("bad_row", 3, why="json"), {"ingest.quarantine": [quarantined(4, "json")]}, 0),
        (defect("exact_duplicate", 1, of=OF), {"dedup.dropped": [dropped("b", "a", "exact")]}, 1),
        (defect("exact_duplicate", 1, of=OF), {"dedup.dropped": [dropped("a", "b", "exact")]}, 1),
        (defect("exact_duplicate", 1, of=OF), {"dedup.dropped": [dropped("b", "a", "near")]}, 0),
        (defect("exact_duplicate", 1, of=OF), {"dedup.dropped": [dropped("b", "c", "exact")]}, 0),
        (
            defect("near_duplicate", 1, of=OF),
            {"dedup.dropped": [dropped("b", "c", "near"), dropped("a", "c", "near")]},
            1,
        ),
        (defect("pii", 0, value="x@y.example"), {"scrub.conversations": [chat("a", "write [EMAIL_1]")]}, 1),
        (defect("pii", 0, value="x@y.example"), {"scrub.conversations": [chat("a", "write x@y.example")]}, 0),
        (defect("pii", 0, value="x@y.example"), {"scrub.conversations": []}, 0),
        (defect("truncated", 1), {"grade.rejected": [{"id": "b"}]}, 1),
        (defect("low_quality", 1), {"grade.rejected": [{"id": "a"}]}, 0),
        (defect("leaked_eval", 1), {"split.conversations": [{"id": "a"}]}, 1),
        (defect("leaked_eval", 1), {"split.conversations": [{"id": "b"}]}, 0),
        (defect("leaked_eval", 7), {"split.conversations": []}, 0),
    ],
)
def test_a_defect_counts_only_where_its_own_row_was_dealt_with(
    planted: dict[str, Any], tables: dict[str, Any], caught: int
) -> None:
    tables = {"ingest.origins": origins("a", "b"), **tables}
    assert count_caught([planted], tables) == {planted["kind"]: (caught, 1)}
    assert missed([planted], tables) == ([] if caught else [planted])


def test_kinds_whose_stage_has_not_run_are_left_out() -> None:
    assert count_caught([defect("truncated", 0), defect("bad_row", 0, why="json")], {"ingest.quarantine": []}) == {
        "bad_row": (0, 1)
    }


def test_repeats_and_events_without_consent_are_looked_for_in_the_feedback() -> None:
    planted = [
        {"kind": "feedback_repeat", "detail": {"event_id": "e1", "reply": "r1"}},
        {"kind": "feedback_repeat", "detail": {"event_id": "e2", "reply": "r2"}},
        {"kind": "feedback_no_consent", "detail": {"event_id": "e3", "reply": "r3"}},
        {"kind": "feedback_no_consent", "detail": {"event_id": "e4", "reply": "r4"}},
    ]
    events = [{"event_id": e} for e in ("e1", "e2", "e2")]
    tables = {"collect.feedback": events, "pairs.preferences": [{"rejected": "r3"}], "pairs.unpaired": []}
    assert count_caught(planted, tables) == {"feedback_repeat": (1, 2), "feedback_no_consent": (1, 2)}


def test_without_the_seed_data_there_is_nothing_to_report(workspace: Path) -> None:
    assert report() == {}
