"""A user who stood everywhere stands nowhere, is not taken in again, and nobody else misses anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stages import collect, forget, ingest, pairs
from stages.arrivals import Arrival
from stages.forgetting import receipt, stores
from stages.forgetting.models import TAG
from tests.stages.forgetting import planted
from thumbwheel import tracking
from thumbwheel.errors import SettingsError, StoreError
from thumbwheel.forgotten import listed, observed
from thumbwheel.lake import newest, read_pin, read_pinned
from thumbwheel.outbox import Outbox
from thumbwheel.settings import settings

UNREADABLE = "more.parquet"
"""A source that is not of one row a line: it is refused, and named as what is left."""


def holding(root: Path, *words: str) -> set[str]:
    """Return the files under a root that hold one of the words in any case, Parquet rows read as text."""
    found = set()
    for path in (path for path in root.rglob("*") if path.is_file()):
        content = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else ""
        content = (content + path.read_bytes().decode("latin-1")).lower()
        if any(word.lower() in content for word in words):
            found.add(str(path.relative_to(root)))
    return found


def hashes() -> list[str]:
    return [planted.chat_user(planted.NAME), planted.source_user(planted.NAME)]


@pytest.mark.slow
def test_a_user_who_stood_everywhere_is_forgotten_everywhere(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.plant(workspace)
    before = holding(workspace, *planted.SECRETS, *hashes())
    _they_stand_everywhere(before)

    forget.look(planted.NAME)
    _looking_changes_nothing(workspace, before, capsys.readouterr().out)
    _killed_halfway(monkeypatch)
    told = forget.forget(planted.NAME)

    assert holding(workspace, *planted.SECRETS, *hashes()) == {UNREADABLE}
    assert told["left"] == [UNREADABLE]
    _others_are_untouched()
    _models_are_marked(told)
    _nothing_comes_back(workspace)
    _the_receipt_is_signed(told)


def _they_stand_everywhere(before: set[str]) -> None:
    expected = ("rows.jsonl", "events.jsonl", "data/outbox.db", "data/mended/s.jsonl", ".thumbwheel/history.db")
    expected += (".thumbwheel/memory.db", ".thumbwheel/logs/chat.log", ".thumbwheel/airflow/logs/dag/task.log")
    expected += ("data/reports/grade.html", ".dvc/cache/files/md5/ab/cdef")
    assert set(expected) <= before
    tables = {path.split("/")[2] for path in before if path.startswith("data/lake/")}
    assert {"feedback", "ingest_conversations", "pairs_preferences", "split_conversations", "quarantine"} <= tables


def _looking_changes_nothing(root: Path, before: set[str], said: str) -> None:
    assert holding(root, *planted.SECRETS, *hashes()) == before
    assert "nothing was erased" in said
    assert "ingest_conversations" in said
    assert "version 1: learnt from the user" in said
    assert newest("forgotten") is None


def _killed_halfway(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> Any:
        raise StoreError("the machine went down")

    with monkeypatch.context() as patched:
        patched.setattr(forget, "STEPS", (*forget.STEPS[:8], killed))
        with pytest.raises(StoreError):
            forget.forget(planted.NAME)


def _others_are_untouched() -> None:
    assert newest("ingest_conversations")["messages"].to_pylist()[0][0]["content"] == planted.KEPT
    assert newest("feedback")["event_id"].to_pylist() == ["e-other"]
    assert newest("pairs_preferences")["chosen"].to_pylist() == ["It greets you."]
    log = (settings().state_dir / "logs" / "chat.log").read_text().splitlines()
    assert (log[0], log[3], set(log[1] + log[2] + log[4])) == ("GET / 200", f"said {planted.KEPT}", {"-"})
    kept = stores.ask_service(frozenset({planted.chat_user(planted.OTHER)}), (), False)
    assert kept["counts"] == {"history": 1, "profile": 1, "recall": 1, "review": 0}
    assert (settings().reports / "sft.json").exists()


def _models_are_marked(told: dict[str, Any]) -> None:
    assert [(model["version"], model["learnt"]) for model in told["models"]] == [(1, "yes"), (2, "unknown"), (3, "yes")]
    tags = [tracking.client().get_model_version(tracking.MODEL, str(n)).tags[TAG] for n in (1, 2, 3)]
    assert [tag.partition(",")[0] for tag in tags] == ["yes", "unknown", "yes"]


def _nothing_comes_back(world: Path) -> None:
    """Say all of it again: the sources, and feedback as if the user had come back."""
    planted.rows_of_sources(world)
    with_mine = Outbox(settings().outbox_path)
    with_mine.append(planted.event_of("e-again", planted.NAME, planted.SAID))
    with_mine.close()
    planted.look(world)
    ingest.main()
    pairs.main()
    assert read_pin("ingest").rejections == {"forgotten": 5}
    assert read_pinned("ingest", "conversations").num_rows == 2
    assert newest("feedback")["event_id"].to_pylist() == ["e-other"]
    lake = holding(world / "data" / "lake", *planted.SECRETS, *hashes())
    assert lake | holding(world / ".thumbwheel", *planted.SECRETS, *hashes()) == set()


def _the_receipt_is_signed(told: dict[str, Any]) -> None:
    path = Path(told["path"])
    places = {one["place"] for one in told["erased"]}
    assert places >= {"lake", "outbox", "chat service", "logs", "reports", "dvc cache", "sources", "vectors"}
    assert holding(path.parent, *planted.SECRETS, *hashes()) == set()
    assert not list(receipt.folder().glob("*.journal"))
    assert receipt.verify(path)
    assert not receipt.verify(path, "00" * 32)
    changed = json.loads(path.read_text())
    changed["receipt"]["left"] = []
    path.write_text(json.dumps(changed))
    assert not receipt.verify(path)


def test_the_list_is_useless_under_another_key_and_says_so(workspace: Path) -> None:
    forget.enlist(frozenset({"u-1"}), "2026-11-01T00:00:00+00:00")
    rows = newest("forgotten").to_pylist()
    assert listed(rows).holds("u-1")
    assert not listed(rows).holds("u-2")
    assert observed().holds("u-1")
    (settings().state_dir / "forget.key").write_bytes(b"another key")
    with pytest.raises(SettingsError, match="another"):
        listed(rows)


def test_events_of_a_forgotten_user_are_kept_nowhere_not_even_in_the_quarantine(workspace: Path) -> None:
    forget.enlist(frozenset({"u-1"}), "2026-11-01T00:00:00+00:00")
    torn = {"user": "u-1", "kind": "no such"}
    arrivals = [Arrival("f", n, json.dumps(e).encode()) for n, e in enumerate((torn, {"user": "u-2"}))]
    told = collect.sort_out(arrivals, set(), observed())
    assert (told.forgotten, len(told.quarantine)) == (1, 1)
