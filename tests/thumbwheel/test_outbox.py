from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events import feedback_event
from thumbwheel.errors import FeedbackError, SourceError
from thumbwheel.outbox import Outbox, validated
from thumbwheel.records import FEEDBACK

TOPIC = "feedback-test"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", ""),
        ("event_id", 7),
        ("user", None),
        ("kind", "thumb"),
        ("rating", "sideways"),
        ("consent", None),
        ("consent", 1),
        ("prompt", []),
        ("prompt", [{"role": "robot", "content": "x"}]),
        ("prompt", [{"role": "user"}]),
        ("prompt", [{"role": "user", "content": "x", "name": "y"}]),
        ("reply", None),
        ("reply", "\ud800"),
        ("created_at", "yesterday"),
        ("created_at", "2026-11-01T10:00:00"),
        ("mood", "sad"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    with pytest.raises(FeedbackError, match=f"'{field}'"):
        validated(feedback_event(**{field: value}))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "rating", "rating": None}, "rating"),
        ({"kind": "edit", "correction": ""}, "correction"),
        ({"kind": "regeneration", "rating": "up"}, "replaces"),
    ],
)
def test_a_kind_of_event_needs_the_field_that_makes_it(changes: dict[str, object], field: str) -> None:
    with pytest.raises(FeedbackError, match=f"'{field}' is missing"):
        validated(feedback_event(**changes))


def test_a_reason_given_after_the_thumb_is_an_event_of_its_own() -> None:
    assert validated(feedback_event(rating=None, reason="unsafe"))["reason"] == "unsafe"


def test_a_validated_event_has_exactly_the_fields_of_the_schema_in_order() -> None:
    event = feedback_event(arm="")
    del event["replaces"]

    row = validated(event)

    assert list(row) == FEEDBACK.names
    assert row["arm"] is None
    assert row["replaces"] is None


@given(reply=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_reply_comes_back_byte_for_byte(tmp_path_factory: pytest.TempPathFactory, reply: str) -> None:
    outbox = Outbox(tmp_path_factory.mktemp("outbox") / "outbox.db")

    outbox.append(feedback_event(reply=reply))

    assert outbox.read()[0][1]["reply"] == reply
    outbox.close()


def test_events_are_read_in_the_order_of_their_coming_after_an_offset(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    for name in "abcd":
        outbox.append(feedback_event(event_id=name))

    first = outbox.read(after=0, limit=3)
    rest = outbox.read(after=first[-1][0], limit=3)

    assert [event["event_id"] for _, event in first + rest] == list("abcd")


def test_an_event_id_is_kept_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")

    for reason in ("wrong", "rude"):
        outbox.append(feedback_event(event_id="same", reason=reason))

    assert [event["reason"] for _, event in outbox.read()] == ["wrong"]


def test_a_refused_event_leaves_nothing_behind(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")

    with pytest.raises(FeedbackError):
        outbox.append(feedback_event(consent="yes"))

    assert outbox.read() == []


def test_an_outbox_keeps_its_identity_and_another_has_another(tmp_path: Path) -> None:
    assert Outbox(tmp_path / "a.db").identity == Outbox(tmp_path / "a.db").identity
    assert Outbox(tmp_path / "a.db").identity != Outbox(tmp_path / "b.db").identity


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_text("not a database, but long enough to look like a header of one" * 20)

    with pytest.raises(SourceError, match=r"outbox\.db cannot be used"):
        Outbox(tmp_path / "outbox.db")


def _append_many(path: Path, writer: int) -> None:
    outbox = Outbox(path)
    for number in range(25):
        outbox.append(feedback_event(event_id=f"{writer}-{number}"))
        outbox.append(feedback_event(event_id=f"shared-{number}"))


def test_many_processes_write_at_once_and_each_event_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    names = [event["event_id"] for _, event in Outbox(path).read(limit=1000)]

    assert [writer.exitcode for writer in writers] == [0] * 4
    assert sorted(names) == sorted({*names})
    assert len(names) == 5 * 25


WRITER = """
import sys
from pathlib import Path
from tests.events import feedback_event
from thumbwheel.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
for number in range(100_000):
    outbox.append(feedback_event(event_id=str(number)))
    print(number, flush=True)
"""


def test_every_event_that_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.read().split()
    process.wait()

    kept = [event["event_id"] for _, event in Outbox(path).read(limit=100_000)]

    assert set(said) <= set(kept)
