"""From source files to tables: what is kept of a row, what is turned away, and what stops the stage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.ingest import IngestParams, main
from stages.reading.intake import DETAIL
from stages.reading.sources import Source, list_files
from thumbwheel.errors import SourceError
from thumbwheel.lake import read_pin, read_pinned, read_table, write_json
from thumbwheel.records import conversation_id
from thumbwheel.settings import REPOSITORY

CHAT = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]}
PAIR = {"prompt": "Hi?", "chosen": "Hello.", "rejected": "What?"}
SOURCE = {
    "name": "s",
    "uri": "rows.jsonl",
    "format": "auto",
    "kind": "both",
    "licence": "CC0-1.0",
    "lang": "en",
    "objective": "helpful",
    "consent": True,
}

LANGUAGE = {"characters": 120, "min_characters": 24, "min_confidence": 0.5}


def write_rows(root: Path, *rows: Any, name: str = "rows.jsonl") -> None:
    (root / name).write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))


def observe(root: Path, *sources: dict[str, Any]) -> None:
    """Write `params.yaml` and what `stages.observe` would find."""
    params = {"sources": list(sources), "max_characters": 100, "user_salt": "salt", "language": LANGUAGE}
    (root / "params.yaml").write_text(yaml.safe_dump({"ingest": params}))
    listed = [
        {"name": s.name, "uri": s.uri, "files": list_files(s)} for s in IngestParams.model_validate(params).sources
    ]
    write_json(root / "data" / "inputs" / "sources.json", {"sources": listed})


def rows(table: str) -> list[dict[str, Any]]:
    return list(read_pinned("ingest", table).to_pylist())


def test_rows_of_both_kinds_land_in_their_tables(workspace: Path) -> None:
    write_rows(workspace, CHAT, PAIR)
    observe(workspace, SOURCE)
    main()
    (chat,), (pair,) = rows("conversations"), rows("preferences")
    assert chat["id"] == conversation_id(CHAT["messages"])
    assert (pair["chosen"], pair["rejected"], pair["origin"]) == ("Hello.", "What?", "public")
    assert [(o["table"], o["file"], o["row"]) for o in rows("origins")] == [
        ("conversations", "rows.jsonl", 0),
        ("preferences", "rows.jsonl", 1),
    ]


def test_what_a_row_says_of_itself_is_kept_and_the_user_is_a_pseudonym(workspace: Path) -> None:
    said = {"lang": "de", "topic": "hub", "user": "tilda@mail.example", "created_at": "2026-02-02T10:42:00+01:00"}
    write_rows(workspace, {**CHAT, **said})
    observe(workspace, SOURCE)
    main()
    (chat,) = rows("conversations")
    assert (chat["lang"], chat["topic"], chat["created_at"]) == ("de", "hub", "2026-02-02T09:42:00+00:00")
    assert chat["user"].startswith("u-")
    assert "tilda" not in chat["user"]
    assert json.loads(chat["meta"]) == {"file": "rows.jsonl", "row": 0}


def test_what_a_row_does_not_say_is_the_sources(workspace: Path) -> None:
    write_rows(workspace, CHAT, PAIR)
    observe(workspace, {**SOURCE, "lang": "fr", "objective": "safe"})
    main()
    (chat,), (pair,) = rows("conversations"), rows("preferences")
    assert (chat["lang"], chat["licence"], chat["consent"], chat["created_at"]) == ("fr", "CC0-1.0", True, None)
    assert pair["objective"] == "safe"


def test_every_misfit_is_quarantined_with_its_line_and_counted(workspace: Path) -> None:
    long = {"prompt": "x", "completion": "y" * 200}
    write_rows(workspace, CHAT, "{'a': 1}", {"messages": []}, long, {"foo": 1}, {**CHAT, "messages": [1]})
    observe(workspace, SOURCE)
    main()
    found = rows("quarantine")
    assert [(q["line"], q["reason"]) for q in found] == [
        (1, "json"),
        (2, "empty"),
        (3, "too_long"),
        (4, "shape"),
        (5, "content_type"),
    ]
    assert {q["source"] for q in found} == {"s:rows.jsonl"}
    assert read_pin("ingest").rejections == {"content_type": 1, "empty": 1, "json": 1, "shape": 1, "too_long": 1}
    assert len(rows("conversations")) == 1


def test_a_row_without_consent_is_turned_away_and_its_text_is_not_kept(workspace: Path) -> None:
    write_rows(workspace, {**CHAT, "consent": False})
    observe(workspace, SOURCE)
    main()
    (quarantined,) = rows("quarantine")
    assert (quarantined["reason"], quarantined["row"]) == ("no_consent", "")
    assert rows("conversations") == []


def test_a_row_without_consent_keeps_no_text_whatever_else_is_wrong_with_it(workspace: Path) -> None:
    write_rows(workspace, {"messages": [{"role": "robot", "content": "mine"}], "consent": False}, "mine")
    observe(workspace, SOURCE, {**SOURCE, "name": "t", "consent": False})
    main()
    assert [(q["source"][0], q["reason"], q["row"]) for q in rows("quarantine")] == [
        ("s", "no_consent", ""),
        ("s", "json", "mine"),
        ("t", "no_consent", ""),
        ("t", "json", ""),
    ]


def test_what_is_said_of_a_misfit_is_short(workspace: Path) -> None:
    write_rows(workspace, {"messages": [{"role": "robot" * 10_000, "content": "Hi?"}]})
    observe(workspace, SOURCE)
    main()
    (quarantined,) = rows("quarantine")
    assert quarantined["reason"] == "role"
    assert len(quarantined["detail"]) == DETAIL


def test_two_sources_of_one_name_are_refused_before_one_hides_the_other() -> None:
    params = {"max_characters": 100, "user_salt": "salt", "language": LANGUAGE, "sources": [SOURCE, SOURCE]}
    with pytest.raises(ValueError, match="several sources are named 's'"):
        IngestParams.model_validate(params)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a:b", "a\n"])
def test_a_name_that_is_no_files_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Source.model_validate({**SOURCE, "name": name})


@pytest.mark.parametrize(
    ("lines", "says"), [([], "s: there is no row in it"), (["bad"], "s: not one row fits"), ([CHAT], None)]
)
def test_a_source_that_gives_nothing_is_warned_of(
    workspace: Path, caplog: pytest.LogCaptureFixture, lines: list[Any], says: str | None
) -> None:
    write_rows(workspace, *lines)
    observe(workspace, SOURCE)
    main()
    warned = [record.getMessage() for record in caplog.records if record.name == "stages.ingest"]
    assert any(says in message for message in warned) if says else not any("not one" in m for m in warned)


def test_a_pair_in_a_source_of_conversations_is_a_misfit(workspace: Path) -> None:
    write_rows(workspace, CHAT, PAIR)
    observe(workspace, {**SOURCE, "kind": "conversation"})
    main()
    assert read_pin("ingest").rejections == {"shape": 1}


def test_a_rerun_on_the_same_sources_leaves_the_same_pin(workspace: Path) -> None:
    write_rows(workspace, CHAT, PAIR, "bad")
    observe(workspace, SOURCE)
    main()
    first = (workspace / "data/pins/ingest.json").read_bytes()
    main()
    assert (workspace / "data/pins/ingest.json").read_bytes() == first


def test_a_corrupt_file_stops_the_stage_and_leaves_no_pin(workspace: Path) -> None:
    write_rows(workspace, CHAT)
    (workspace / "bad.parquet").write_bytes(b"PAR1 nothing PAR1")
    observe(workspace, SOURCE, {**SOURCE, "name": "t", "uri": "bad.parquet"})
    with pytest.raises(SourceError, match=r"'bad.parquet' is corrupt .* restore it"):
        main()
    assert not (workspace / "data/pins/ingest.json").exists()


def test_a_source_that_changed_since_it_was_observed_is_refused(workspace: Path) -> None:
    write_rows(workspace, CHAT)
    observe(workspace, SOURCE)
    write_rows(workspace, CHAT, CHAT)
    with pytest.raises(SourceError, match=r"source 's' \(rows.jsonl\) is not as sources.json has it"):
        main()


def test_sources_that_were_never_observed_are_refused(workspace: Path) -> None:
    write_rows(workspace, CHAT)
    observe(workspace, SOURCE)
    (workspace / "data/inputs/sources.json").unlink()
    with pytest.raises(SourceError, match=r"python -m stages.observe"):
        main()


def test_a_listed_file_carries_the_mark_of_its_content(workspace: Path) -> None:
    write_rows(workspace, CHAT)
    source = Source.model_validate(SOURCE)
    (before,) = list_files(source)
    write_rows(workspace, PAIR)
    (after,) = list_files(source)
    assert before["uri"] == after["uri"] == "rows.jsonl"
    assert before["sha256"] != after["sha256"]


def test_the_pin_counts_what_was_read_and_mended(workspace: Path) -> None:
    mojibake = {"prompt": "Hi?", "completion": "c’est déjà".encode().decode("windows-1252")}
    write_rows(workspace, CHAT, mojibake, "bad")
    observe(workspace, SOURCE)
    main()
    pin = read_pin("ingest")
    assert pin.facts == {"read": 3, "mended": 1}
    assert pin.tables["origins"].rows + pin.tables["quarantine"].rows == 3


def test_a_source_that_changed_is_merged_and_the_old_pin_still_reads_the_old_rows(workspace: Path) -> None:
    write_rows(workspace, CHAT, name="a.jsonl")
    write_rows(workspace, PAIR, name="b.jsonl")
    observe(workspace, {**SOURCE, "uri": "*.jsonl"})
    main()
    before = read_pin("ingest")
    write_rows(workspace, PAIR, {"prompt": "More?", "completion": "Yes."}, name="b.jsonl")
    observe(workspace, {**SOURCE, "uri": "*.jsonl"})
    main()
    after = read_pin("ingest")
    assert [chat["messages"][0]["content"] for chat in rows("conversations")] == ["Hi?", "More?"]
    assert read_table(before.tables["conversations"]).num_rows == 1
    assert after.tables["preferences"] == before.tables["preferences"]
    write_rows(workspace, PAIR, name="b.jsonl")
    observe(workspace, {**SOURCE, "uri": "*.jsonl"})
    main()
    assert read_pin("ingest") == before


KILLED = """
import os, signal, sys
from stages.ingest import main
left = [int(sys.argv[1])]
def kill(event, arguments):
    writes = event == "open" and arguments[1] not in ("r", "rb", None) and "data" in str(arguments[0])
    if writes or event in ("os.rename", "os.mkdir", "os.utime"):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
main()
"""


def start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )


def pin_bytes(root: Path) -> bytes:
    return (root / "data/pins/ingest.json").read_bytes()


@pytest.fixture
def three_files(workspace: Path) -> Path:
    """Three observed files and the pin of a run over them in `expected.json`; nothing else is left of that run."""
    for name in "abc":
        write_rows(workspace, CHAT, PAIR, "bad", {"prompt": name, "completion": name}, name=f"{name}.jsonl")
    observe(workspace, {**SOURCE, "uri": "*.jsonl"})
    main()
    (workspace / "expected.json").write_bytes(pin_bytes(workspace))
    for name in ("data/lake", "data/pins", ".thumbwheel/ingest"):
        shutil.rmtree(workspace / name)
    return workspace


@pytest.mark.slow
@pytest.mark.parametrize("moment", [2, 5, 9, 14, 18])
def test_killed_at_any_point_the_rerun_is_exact(three_files: Path, moment: int) -> None:
    assert start(KILLED, str(moment)).wait() == -signal.SIGKILL
    assert not (three_files / "data/pins/ingest.json").exists()
    main()
    assert pin_bytes(three_files) == (three_files / "expected.json").read_bytes()
    assert len(rows("conversations")) == 6


@pytest.mark.slow
def test_two_ingests_at_once_end_as_if_one_came_after_the_other(three_files: Path) -> None:
    both = [start("from stages.ingest import main; main()") for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert pin_bytes(three_files) == (three_files / "expected.json").read_bytes()
    assert len(rows("conversations")) == 6
