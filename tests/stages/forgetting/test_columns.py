"""A user whom a source names in a column of its own is found and taken out of it all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages import forget, ingest
from stages.forgetting import files
from stages.forgetting.traces import Traces, theirs
from tests.stages.test_ingest import SOURCE, observe, write_rows
from thumbwheel.lake import read_pinned
from thumbwheel.records import user_hash

NAMED = {**SOURCE, "columns": {"prompt": "q", "completion": "a", "user": "meta.by"}}
MINE = [{"q": "Hi?", "a": "Hello.", "meta": {"by": 4711}}, {"q": "Hi?", "a": "", "meta": {"by": 4711}}]
OTHERS = [{"q": "Who?", "a": "You.", "meta": {"by": 47}}, {"q": "What?", "a": "", "meta": {"by": 47}}]


@pytest.fixture
def known(workspace: Path) -> Traces:
    """Two users with a good and a bad row each, and a mended one of the first, taken in; what is known of the first."""
    write_rows(workspace, *MINE, *OTHERS)
    (workspace / "data" / "mended").mkdir(parents=True)
    write_rows(workspace / "data" / "mended", {"mends": "rows.jsonl:1", **MINE[0]}, name="s.jsonl")
    observe(workspace, NAMED)
    ingest.main()
    return forget.trace("4711")


def test_their_rows_are_taken_out_of_the_source_and_of_what_was_mended(known: Traces) -> None:
    found = {found.what: found.number for found in files.cut_sources(known, True)}

    assert found == {"data/mended/s.jsonl": 1, "rows.jsonl": 2}
    assert [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()] == OTHERS
    assert Path("data/mended/s.jsonl").read_text() == ""


def test_their_conversations_and_quarantined_rows_are_known(known: Traces) -> None:
    chats, misfits = (read_pinned("ingest", name) for name in ("conversations", "quarantine"))

    assert known.users >= {user_hash("4711", b"salt")}
    assert {row["user"] for row in chats.filter(theirs(chats, known)).to_pylist()} == {user_hash("4711", b"salt")}
    assert [json.loads(row["row"]) for row in misfits.filter(theirs(misfits, known)).to_pylist()] == MINE[1:]


def test_their_rows_are_not_taken_in_again(known: Traces) -> None:
    forget.enlist(known.users, "2026-11-26T00:00:00+00:00")
    ingest.main()

    assert {row["user"] for row in read_pinned("ingest", "conversations").to_pylist()} == {user_hash("47", b"salt")}
    refused = [row for row in read_pinned("ingest", "quarantine").to_pylist() if row["reason"] == "forgotten"]
    assert [row["row"] for row in refused] == ["", "", ""]


def test_a_file_that_two_sources_read_is_read_as_either_does(known: Traces) -> None:
    observe(Path(), NAMED, {**SOURCE, "name": "t", "columns": {"user": "author"}})
    write_rows(Path(), {"q": "Hi?", "author": 4711}, *MINE, *OTHERS)

    assert [found.number for found in files.cut_sources(known, False) if found.what == "rows.jsonl"] == [3]


@pytest.mark.parametrize("column", ["by", "@by", "作者", "né le"])
@pytest.mark.parametrize("user", ["4711", "José", "a\ud800"])
def test_however_a_column_and_its_user_are_written_a_quarantined_row_is_known(
    workspace: Path, column: str, user: str
) -> None:
    mine, other = ({"q": "Hi?", "a": "", column: each} for each in (user, f"{user}s"))
    write_rows(workspace, {"q": "Hi?", "a": "Hello.", column: "47"}, mine, other)
    observe(workspace, {**SOURCE, "columns": {"prompt": "q", "completion": "a", "user": column}})
    ingest.main()
    misfits = read_pinned("ingest", "quarantine")

    found = misfits.filter(theirs(misfits, forget.trace(user)))

    assert misfits["line"].to_pylist() == [1, 2]
    assert found["line"].to_pylist() == [1]


@pytest.mark.parametrize("text", ['{"@by": "al"}', '{"作者":"al"}', r'{"\u4f5c\u8005": "al"}', "作者=al"])
def test_a_short_name_is_found_under_whatever_column_says_whose_a_row_is(text: str) -> None:
    traces = Traces("al", frozenset(), columns=frozenset(("@by", "作者")))

    assert traces.raw_name().search(text.encode())
    assert not traces.raw_name().search(text.encode().replace(b"al", b"all"))
