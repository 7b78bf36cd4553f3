"""Sources: the hub, Delta tables and feedback beside files; each pinned to what it held when it was observed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from stages.reading.sources import Source, is_unchanged, list_files, mended_path, observed_files, read
from tests.events import feedback_event
from thumbwheel.errors import SourceError
from thumbwheel.lake import uri as lake_uri
from thumbwheel.lake import write_json, write_table
from thumbwheel.records import FEEDBACK, to_table
from thumbwheel.settings import settings

COMMIT, OTHER = "a" * 40, "b" * 40
ROWS = [{"prompt": "question", "completion": "answer"}, {"prompt": "more", "completion": "answers"}]


def source(uri: str) -> Source:
    said = {"name": "s", "uri": uri, "format": "auto", "kind": "both", "licence": "CC0-1.0", "lang": "en"}
    return Source.model_validate({**said, "objective": "helpful", "consent": True})


def values(uri: str) -> list[Any]:
    return [record.value for file in list_files(source(uri)) for record in read(file)]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with the data set `owner/chats` at two commits, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repo = tmp_path / "hub" / "datasets--owner--chats"
    for commit, rows in ((COMMIT, ROWS), (OTHER, ROWS[:1])):
        (repo / "snapshots" / commit / "data").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), repo / "snapshots" / commit / "data" / "train.parquet")
        (repo / "snapshots" / commit / "extra.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
        (repo / "snapshots" / commit / "README.md").write_text("about it")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "refs" / "old").write_text(OTHER)
    return repo


def test_a_data_set_of_the_hub_is_listed_by_its_commit(workspace: Path, hub: Path) -> None:
    found = list_files(source("hf://owner/chats"))

    assert [file["uri"] for file in found] == [
        f"hf://owner/chats@{COMMIT}/data/train.parquet",
        f"hf://owner/chats@{COMMIT}/extra.jsonl",
    ]
    assert {len(file["sha256"]) for file in found} == {64}


def test_what_a_data_set_of_the_hub_says_of_itself_is_no_data_unless_it_is_named(workspace: Path, hub: Path) -> None:
    for name in ("dataset_infos.json", "data/state.json", ".cache/x.jsonl", "__old__/x.jsonl"):
        path = hub / "snapshots" / COMMIT / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('{\n"default": {}\n}')

    assert [file["uri"].rpartition("/")[2] for file in list_files(source("hf://owner/chats"))] == [
        "train.parquet",
        "extra.jsonl",
    ]
    assert len(list_files(source("hf://owner/chats/data/state.json"))) == 1


@pytest.mark.parametrize("path", ["/data/*.parquet", "/data", "/data/train.parquet"])
def test_files_of_a_data_set_can_be_picked(workspace: Path, hub: Path, path: str) -> None:
    assert values(f"hf://owner/chats{path}") == ROWS


@pytest.mark.parametrize("revision", ["old", OTHER])
def test_a_revision_can_be_named(workspace: Path, hub: Path, revision: str) -> None:
    assert values(f"hf://owner/chats@{revision}/data/*") == ROWS[:1]


def test_what_was_listed_is_read_though_the_branch_moved_on(workspace: Path, hub: Path) -> None:
    (file,) = list_files(source("hf://owner/chats/data"))
    (hub / "refs" / "main").write_text(OTHER)

    assert is_unchanged(file)
    assert [record.value for record in read(file)] == ROWS


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("hf://owner/none", "neither on the hub nor in its cache"),
        ("hf://owner/chats/*.csv", "no file that can be read"),
        ("hf://chats", "not of the form"),
    ],
)
def test_a_data_set_that_is_not_there_is_named(workspace: Path, hub: Path, uri: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        list_files(source(uri))


def test_a_delta_table_is_read_at_the_version_that_was_observed(workspace: Path) -> None:
    write_deltalake("table", pa.Table.from_pylist(ROWS))
    (file,) = list_files(source("delta://table"))
    write_deltalake("table", pa.Table.from_pylist(ROWS[:1]), mode="overwrite")

    assert file == {"uri": "delta://table@0", "table": str(DeltaTable("table").metadata().id)}
    assert is_unchanged(file)
    assert [record.value for record in read(file)] == ROWS
    assert values("delta://table") == ROWS[:1]
    assert values("delta://table@0") == ROWS


def test_a_column_that_came_later_is_null_in_older_files(workspace: Path) -> None:
    write_deltalake("table", pa.Table.from_pylist(ROWS[:1]))
    newer = pa.Table.from_pylist([{**ROWS[1], "topic": "hub"}])
    write_deltalake("table", newer, mode="append", schema_mode="merge")

    found = sorted(values("delta://table"), key=lambda row: str(row["topic"]))

    assert found == [{**ROWS[0], "topic": None}, {**ROWS[1], "topic": "hub"}]


@pytest.mark.parametrize(
    ("uri", "says"), [("delta://none", "no Delta table"), ("delta://table@x", "'x' is no version")]
)
def test_a_table_that_is_not_there_is_named(workspace: Path, uri: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        list_files(source(uri))


def test_a_version_that_is_gone_is_named(workspace: Path) -> None:
    write_deltalake("table", pa.Table.from_pylist(ROWS))

    with pytest.raises(SourceError, match=r"'delta://table@7' cannot be read"):
        values("delta://table@7")


def test_liked_conversations_with_consent_are_rows_and_others_are_not(workspace: Path) -> None:
    up = feedback_event(message_id="m-1", rating="up")
    liked = feedback_event(message_id="m-2", rating="up")
    turned = feedback_event(message_id="m-2", rating="down", created_at="2026-11-01T10:05:00+00:00")
    silent = feedback_event(message_id="m-3", rating="up", consent=False)
    write_table("feedback", to_table([turned, silent, up, liked], FEEDBACK))

    (row,) = values("feedback://")

    assert row["messages"] == [*up["prompt"], {"role": "assistant", "content": up["reply"]}]
    assert (row["user"], row["consent"]) == (up["user"], True)
    assert DeltaTable(lake_uri("feedback")).version() == 0


def test_mended_rows_are_read_behind_their_source(workspace: Path) -> None:
    (workspace / "rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    mended_path("s").parent.mkdir(parents=True)
    mended_path("s").write_text(json.dumps(ROWS[1]) + "\n")

    assert [file["uri"] for file in list_files(source("rows.jsonl"))] == ["rows.jsonl", "data/mended/s.jsonl"]
    assert values("rows.jsonl") == ROWS


def test_a_file_that_came_after_the_look_waits_for_the_next_one(workspace: Path) -> None:
    (workspace / "a.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    of = source("*.jsonl")
    listed = list_files(of)
    write_json(settings().inputs / "sources.json", {"sources": [{"name": "s", "uri": of.uri, "files": listed}]})
    (workspace / "b.jsonl").write_text(json.dumps(ROWS[1]) + "\n")

    assert observed_files(of) == listed


def test_a_source_whose_place_changed_in_params_is_to_be_observed_again(workspace: Path) -> None:
    (workspace / "a.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    of = source("a.jsonl")
    write_json(
        settings().inputs / "sources.json", {"sources": [{"name": "s", "uri": "other", "files": list_files(of)}]}
    )

    with pytest.raises(SourceError, match=r"not as sources\.json has it"):
        observed_files(of)
