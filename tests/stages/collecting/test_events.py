"""Which events are taken, and why others are not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.arrivals import Arrival
from stages.collect import sort_out
from tests.events import feedback_event
from tests.stages.collecting.collected import arrivals
from thumbwheel.forgotten import Forgotten
from thumbwheel.records import QUARANTINE, to_table


@given(st.lists(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_an_event_is_new_once_and_only_if_unknown(names: list[str], known: set[str]) -> None:
    told = sort_out(arrivals([feedback_event(event_id=name) for name in names]), known)

    assert {e["event_id"] for e in told.events} == set(names) - known
    assert len(told.events) + told.repeats == len(names)


POISON = [
    b"",
    b"\xff\xfe{\x00}\x00",
    b'{"user": ' + b"1" * 5000 + b"}",
    b"[" * 100_000,
    b'{"user": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}",
    b'{"user": "\\ud800"}',
    b"NaN",
    b'{"\\ud800": 1}',
    json.dumps({**feedback_event(), "reply": "\ud800"}).encode(),
    json.dumps({**feedback_event(), "prompt": [{"role": [], "content": "x"}]}).encode(),
    json.dumps({**feedback_event(), "spans": [{"start": 1e400, "end": 2, "label": []}]}).encode(),
    json.dumps({**feedback_event(), "created_at": "0001-01-01T00:00:00+14:00", "tools": 10**400}).encode(),
]


@pytest.mark.parametrize("raw", POISON, ids=range(len(POISON)))
def test_no_event_stops_those_behind_it(raw: bytes) -> None:
    good = json.dumps(feedback_event(event_id="behind")).encode()
    told = sort_out([Arrival("kafka", 1, raw), Arrival("kafka", 2, good)], set(), Forgotten(frozenset({"x"})))

    assert [event["event_id"] for event in told.events] == ["behind"]
    assert to_table(told.quarantine, QUARANTINE)["line"].to_pylist() == [1]


def test_of_two_events_with_one_id_the_first_is_kept() -> None:
    told = sort_out(arrivals([feedback_event(event_id="a", reason=r) for r in ("wrong", "rude")]), set())

    assert [event["reason"] for event in told.events] == ["wrong"]


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (b"{", "not_json", "not JSON"),
        (b"\xff\xfe", "not_json", "not JSON"),
        (b"[1]", "not_json", "not a JSON object"),
        (b"{}", "unfit", "'event_id'"),
        (json.dumps(feedback_event(consent="yes")).encode(), "unfit", "'consent'"),
    ],
)
def test_a_row_that_does_not_fit_is_kept_with_its_place_and_reason(raw: bytes, reason: str, detail: str) -> None:
    (row,) = sort_out([Arrival("file", 7, raw)], set()).quarantine

    assert (row["source"], row["line"], row["reason"]) == ("file", 7, reason)
    assert detail in row["detail"]
    assert row["row"] == raw.decode(errors="replace")
