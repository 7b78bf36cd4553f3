"""The quarantine: what it shows, and the way of a mended row back in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stages import ingest, quarantine
from stages.ingest import IngestParams
from stages.quarantine import export, named, replay, table, turned_away
from stages.reading.sources import mended_path
from tests.stages.test_ingest import CHAT, SOURCE, observe, rows, write_rows
from thumbwheel.errors import PinError, SourceError
from thumbwheel.lake import read_pin
from thumbwheel.params import load_params

BAD = {"messages": [{"role": "robot", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]}


@pytest.fixture
def ingested(workspace: Path) -> IngestParams:
    """A good row, one with a wrong role, one that is no JSON, and one without consent."""
    write_rows(workspace, CHAT, BAD, "{'a': 1}", {**CHAT, "consent": False})
    observe(workspace, SOURCE)
    ingest.main()
    return load_params("ingest", IngestParams)


def exported(params: IngestParams) -> list[dict[str, Any]]:
    path = Path("rows.jsonl.edit")
    export(named("s", params.sources), path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def edit(*lines: dict[str, Any]) -> Path:
    path = Path("edited.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def ingest_again(params: IngestParams) -> None:
    observe(Path(), *[source.model_dump() for source in params.sources])
    ingest.main()


def test_rows_are_shown_by_reason_and_source_with_an_example(ingested: IngestParams) -> None:
    shown = table(turned_away())

    columns = {column.header: list(column.cells) for column in shown.columns}
    assert sorted(columns["reason"]) == ["json", "no_consent", "role"]
    assert columns["source"] == ["s", "s", "s"]
    assert sorted(columns["example"]) == ["rows.jsonl:1", "rows.jsonl:2", "rows.jsonl:3"]


def test_rows_are_exported_whole_with_why_they_were_turned_away(ingested: IngestParams) -> None:
    robot, broken = exported(ingested)

    assert (robot["mends"], robot["reason"], robot["messages"]) == ("s:rows.jsonl:1", "role", BAD["messages"])
    assert (broken["mends"], broken["text"]) == ("s:rows.jsonl:2", "{'a': 1}")


def test_a_mended_row_gets_in_and_leaves_the_quarantine(ingested: IngestParams) -> None:
    robot, broken = exported(ingested)
    robot["messages"][0] = {"role": "user", "content": "Am I a robot?"}
    broken["text"] = json.dumps({"prompt": "Broken?", "completion": "No more."})

    verdicts = replay(edit(robot, broken), ingested)
    ingest_again(ingested)

    assert [verdict.reason for verdict in verdicts] == [None, None]
    asked = [chat["messages"][0]["content"] for chat in rows("conversations")]
    assert asked == ["Hi?", "Am I a robot?", "Broken?"]
    assert [chat["source"] for chat in rows("conversations")] == ["s"] * 3
    assert [row["reason"] for row in turned_away()] == ["no_consent"]
    assert read_pin("ingest").rejections == {"json": 1, "no_consent": 1, "role": 1}


def test_a_mend_stands_for_its_row_alone_and_not_for_what_comes_to_its_place(ingested: IngestParams) -> None:
    robot, _ = exported(ingested)
    robot["messages"] = CHAT["messages"]
    replay(edit(robot), ingested)
    ingest_again(ingested)
    assert [row["reason"] for row in turned_away()] == ["json", "no_consent"]

    write_rows(Path(), CHAT, {"messages": [{"role": "imp", "content": "Hi?"}]})
    ingest_again(ingested)

    assert [(row["line"], row["reason"]) for row in turned_away()] == [(1, "role")]


def test_a_row_that_still_does_not_fit_stays_out_and_says_why(ingested: IngestParams) -> None:
    robot, broken = exported(ingested)
    robot["messages"][0] = {"role": "user", "content": " "}

    verdicts = replay(edit(robot, broken), ingested)

    assert [verdict.reason for verdict in verdicts] == ["empty", "shape"]
    assert not mended_path("s").exists()


def test_mending_a_row_again_replaces_its_first_mend(ingested: IngestParams) -> None:
    robot, _ = exported(ingested)
    for answer in ("first", "second"):
        robot["messages"] = [CHAT["messages"][0], {"role": "assistant", "content": answer}]
        replay(edit(robot), ingested)

    (line,) = mended_path("s").read_text().splitlines()
    assert json.loads(line)["messages"][1]["content"] == "second"


@pytest.mark.parametrize("line", [{"prompt": "a", "completion": "b"}, {"mends": "nothing"}])
def test_a_row_that_does_not_say_what_it_mends_is_refused(ingested: IngestParams, line: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"edited\.jsonl, line 1: .* 'mends'"):
        replay(edit(line), ingested)


def test_an_unknown_source_is_named_with_the_known_ones(ingested: IngestParams) -> None:
    with pytest.raises(SourceError, match=r"no source 'x' in params\.yaml; there are: s"):
        replay(edit({"mends": "x:f:1"}), ingested)


def test_before_the_first_ingest_there_is_nothing_to_show(workspace: Path) -> None:
    with pytest.raises(PinError, match="dvc repro ingest"):
        turned_away()


def test_a_source_of_other_names_is_mended_in_its_own_though_a_note_has_one_of_them(workspace: Path) -> None:
    write_rows(workspace, {"text": "Hi?", "reason": "Hello."}, {"text": "Why?", "reason": ""}, "no JSON")
    observe(workspace, {**SOURCE, "columns": {"prompt": "text", "completion": "reason"}})
    ingest.main()
    params = load_params("ingest", IngestParams)
    empty, broken = exported(params)
    assert (empty["text"], empty["reason"], broken["text"]) == ("Why?", "", "no JSON")

    empty["reason"], broken["text"] = "Because.", json.dumps({"text": "What?", "reason": "That."})
    verdicts = replay(edit(empty, broken), params)
    ingest_again(params)

    assert [verdict.reason for verdict in verdicts] == [None, None]
    said = [[message["content"] for message in chat["messages"]] for chat in rows("conversations")]
    assert said == [["Hi?", "Hello."], ["Why?", "Because."], ["What?", "That."]]
    assert turned_away() == []


def command(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["quarantine", *arguments])
        quarantine.main()


def test_replaying_a_source_asks_whether_its_rows_fit_by_the_params_of_today(
    ingested: IngestParams, capsys: pytest.CaptureFixture[str]
) -> None:
    command("replay", "--source", "s")
    assert "0 of 3 rows fit now" in capsys.readouterr().out
    observe(Path(), {**SOURCE, "consent": True, "format": "auto"})
    write_rows(Path(), CHAT, CHAT, "{'a': 1}", CHAT)
    command("replay", "--source", "s")
    said = capsys.readouterr().out
    assert "2 of 3 rows fit now" in said
    assert "json: 1, such as rows.jsonl:2" in said
    assert not mended_path("s").exists()


def test_the_command_shows_exports_and_replays(ingested: IngestParams, capsys: pytest.CaptureFixture[str]) -> None:
    command()
    assert "3 rows turned away" in capsys.readouterr().out
    command("export", "--source", "s", "out.jsonl")
    assert "2 rows in out.jsonl" in capsys.readouterr().out
    command("replay", "out.jsonl")
    assert "0 of 2 rows fit now" in capsys.readouterr().out


def test_replay_wants_a_file_or_a_source(ingested: IngestParams) -> None:
    with pytest.raises(SystemExit):
        command("replay")
