from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import collect as module
from stages.collect import Arrival, Batch, collect, current_pin, sort_out
from tests.events import feedback_event, make_topic, running_broker
from tests.waiting import eventually
from thumbwheel.errors import SourceError
from thumbwheel.forgotten import Forgotten
from thumbwheel.lake import fingerprint, newest, read_table, uri
from thumbwheel.outbox import Outbox, deliver, new_producer
from thumbwheel.records import FEEDBACK, QUARANTINE, to_table
from thumbwheel.settings import settings

REPOSITORY = Path(__file__).parents[2]
SEED = REPOSITORY / "data" / "seed" / "feedback"


@pytest.fixture
def place(workspace: Path) -> Path:
    (workspace / "params.yaml").write_text("collect: {files: []}\n")
    return workspace


@pytest.fixture
def outbox(place: Path) -> Iterator[Outbox]:
    box = Outbox(settings().outbox_path)
    yield box
    box.close()


def _arrivals(events: list[Any]) -> list[Arrival]:
    return [Arrival("file", line, json.dumps(event).encode()) for line, event in enumerate(events, 1)]


def _collected() -> list[str]:
    rows = newest("feedback")
    return [] if rows is None else sorted(rows["event_id"].to_pylist())


def _quarantined() -> pa.Table:
    rows = newest("feedback_quarantine")
    assert rows is not None
    return rows


@given(st.lists(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_an_event_is_new_once_and_only_if_unknown(names: list[str], known: set[str]) -> None:
    told = sort_out(_arrivals([feedback_event(event_id=name) for name in names]), known)

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
    told = sort_out(_arrivals([feedback_event(event_id="a", reason=r) for r in ("wrong", "rude")]), set())

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


def test_a_tombstone_in_kafka_is_passed_over_and_its_place_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Told:
        def __init__(self, offset: int, value: bytes | None) -> None:
            self.told = {"offset": offset, "value": value, "partition": 0, "topic": "t", "error": None}

        def __getattr__(self, name: str) -> Any:
            return lambda: self.told[name]

    class Consumer:
        committed = assign = lambda self, *_, **__: None

        def consume(self, *_: Any, **__: Any) -> list[Told]:
            return [Told(0, None), Told(1, b"{}")]

    monkeypatch.setattr(module, "_partitions", lambda *_: [type("P", (), {"partition": 0})])
    batch = next(module._consumed(Consumer(), "t"))  # type: ignore[arg-type]
    assert [arrival.line for arrival in batch.arrivals] == [1]


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

    assert _collected() == ["a", "b", "c"]


def test_events_of_a_file_and_of_the_outbox_are_one_log(outbox: Outbox, place: Path) -> None:
    (place / "params.yaml").write_text("collect: {files: [seed.jsonl]}\n")
    lines = [json.dumps(feedback_event(event_id=name)) for name in ("a", "b")]
    (place / "seed.jsonl").write_text("\n".join([*lines, "", "no event", lines[0]]) + "\n")
    outbox.append(feedback_event(event_id="b"))
    outbox.append(feedback_event(event_id="c"))

    for _ in range(2):
        collect()

    assert _collected() == ["a", "b", "c"]
    assert _quarantined().select(["source", "line", "reason"]).to_pylist() == [
        {"source": "seed.jsonl", "line": 4, "reason": "not_json"}
    ]


def test_a_file_that_is_not_there_is_named(place: Path) -> None:
    (place / "params.yaml").write_text("collect: {files: [gone.jsonl]}\n")

    with pytest.raises(SourceError, match=r"gone\.jsonl.*collect\.files"):
        collect()


def test_a_broker_that_is_away_is_one_clear_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BROKER_SECONDS", 1)
    monkeypatch.setenv("THUMBWHEEL_KAFKA_SERVERS", "127.0.0.1:9")
    settings.cache_clear()

    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9.*cannot be read"):
        collect()


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code may catch it."""


@pytest.mark.parametrize("step", ["quarantine", "feedback", "confirm"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_around_any_step_the_next_run_loses_and_doubles_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    place_reached = 0
    log = [json.dumps(feedback_event(event_id=name)).encode() for name in "abc"] + [b"broken"]

    def batches(_: object) -> Iterator[Batch]:
        """A log of which the reader's place moves on confirmation, as in Kafka."""
        while place_reached < len(log):
            upto = place_reached + 2
            arrivals = [Arrival("log", n, log[n]) for n in range(place_reached, upto)]
            yield Batch(arrivals, confirm=mortal("confirm", lambda upto=upto: move(upto)))

    def move(upto: int) -> None:
        nonlocal place_reached
        place_reached = upto

    def mortal(name: str, act: Callable[[], None]) -> Callable[[], None]:
        def acted() -> None:
            if armed and name == step and not after:
                raise Killed
            act()
            if armed and name == step:
                raise Killed

        return acted

    true_merge = module._merge

    def merge(name: str, *rest: Any) -> None:
        mortal({"feedback": "feedback"}.get(name, "quarantine"), lambda: true_merge(name, *rest))()

    monkeypatch.setattr(module, "_batches", batches)
    monkeypatch.setattr(module, "_merge", merge)
    armed = True
    with pytest.raises(Killed):
        collect()

    armed = False
    collect()

    assert _collected() == ["a", "b", "c"]
    assert _quarantined().num_rows == 1


@pytest.mark.slow
def test_killed_by_the_system_at_random_moments_it_completes_in_the_end(outbox: Outbox, place: Path) -> None:
    names = sorted(f"{number:03}" for number in range(300))
    for name in names:
        outbox.append(feedback_event(event_id=name))
    code = "import stages.collect as c; from thumbwheel.command import run; c.BATCH = 20; run(c.main)"
    chance = random.Random(5)

    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
        _wait_for_a_commit(place, process)
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
    collect()

    assert _collected() == names


def _wait_for_a_commit(place: Path, process: subprocess.Popen[bytes]) -> None:
    def commits() -> int:
        return len(list((place / "data" / "lake").glob("*/_delta_log/*.json")))

    before = commits()
    assert eventually(lambda: process.poll() is not None or commits() > before)


@pytest.mark.slow
def test_two_collectors_at_once_neither_lose_nor_double(outbox: Outbox, place: Path) -> None:
    names = sorted(f"{number:03}" for number in range(200))
    for name in names:
        outbox.append(feedback_event(event_id=name))
    code = "import stages.collect as c; from thumbwheel.command import run; c.BATCH = 20; run(c.main)"

    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY) for _ in range(3)]
    statuses = [process.wait() for process in processes]

    assert statuses == [0, 0, 0]
    assert _collected() == names


@pytest.mark.slow
def test_events_of_a_broker_come_into_the_lake_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_broker(place / "broker.log") as servers:
        monkeypatch.setenv("THUMBWHEEL_KAFKA_SERVERS", servers)
        settings.cache_clear()
        before_the_topic = collect()
        make_topic(servers, settings().kafka_topic)
        _produce(servers, [feedback_event(event_id=name) for name in "aabc"])
        _produce(servers, ["no event"])
        pin = collect()
        _produce(servers, [feedback_event(event_id=name) for name in "cd"])
        later = collect()

    assert before_the_topic is None
    assert pin is not None
    assert pin.rows == 3
    assert later is not None
    assert _collected() == ["a", "b", "c", "d"]
    assert _quarantined()["reason"].to_pylist() == ["not_json"]


@pytest.mark.slow
def test_killed_between_the_lake_and_the_broker_nothing_is_doubled(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_broker(place / "broker.log") as servers:
        monkeypatch.setenv("THUMBWHEEL_KAFKA_SERVERS", servers)
        settings.cache_clear()
        make_topic(servers, settings().kafka_topic)
        _produce(servers, [feedback_event(event_id=name) for name in "abc"])

        def die(*_: object) -> Callable[[], None]:
            raise_it = Killed

            def confirm() -> None:
                raise raise_it

            return confirm

        with monkeypatch.context() as patched:
            patched.setattr(module, "_confirmation", die)
            with pytest.raises(Killed):
                collect()
        kept = _collected()
        collect()

    assert kept == ["a", "b", "c"]
    assert _collected() == ["a", "b", "c"]


def _produce(servers: str, events: list[Any]) -> None:
    import threading

    batch = [(n, str(n), json.dumps(event)) for n, event in enumerate(events)]
    assert len(deliver(new_producer(servers), settings().kafka_topic, batch, threading.Event())) == len(batch)


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
