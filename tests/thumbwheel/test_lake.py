"""The lake: the same content is the same version, and a pin reads back what it pinned."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbwheel.errors import PinError
from thumbwheel.lake import (
    Pin,
    TablePin,
    fingerprint,
    newest,
    read_pin,
    read_pinned,
    read_table,
    uri,
    write_json,
    write_pin,
    write_table,
)
from thumbwheel.records import CONVERSATION, to_table
from thumbwheel.settings import settings

ROWS = [{"id": "a", "messages": [{"role": "user", "content": "ä\x00\n"}], "consent": True}, {"id": "b"}]


def table(*ids: str) -> pa.Table:
    return pa.table({"id": list(ids)})


def test_a_pinned_table_reads_back_as_it_was_written(workspace: Path) -> None:
    rows = to_table(ROWS, CONVERSATION)

    pin = write_table("rows", rows)

    assert read_table(pin).equals(rows)
    assert (pin.table, pin.rows, pin.fingerprint) == ("rows", 2, fingerprint(rows))


def test_writing_the_same_content_again_makes_no_version(workspace: Path) -> None:
    assert write_table("t", table("a")) == write_table("t", table("a"))


def test_content_that_stood_there_before_keeps_its_old_version(workspace: Path) -> None:
    first = write_table("t", table("a"))
    write_table("t", table("b"))

    assert write_table("t", table("a")) == first


def test_an_old_pin_reads_the_old_content(workspace: Path) -> None:
    first = write_table("t", table("a"))
    write_table("t", table("b"))

    assert read_table(first)["id"].to_pylist() == ["a"]


def test_a_table_may_change_its_columns(workspace: Path) -> None:
    write_table("t", table("a"))
    pin = write_table("t", pa.table({"other": [1.5]}))

    assert read_table(pin).to_pylist() == [{"other": 1.5}]


def test_an_empty_table_is_a_table(workspace: Path) -> None:
    pin = write_table("t", to_table([], CONVERSATION))

    assert pin.rows == 0
    assert read_table(pin).schema == CONVERSATION


def test_there_is_no_newest_of_a_table_that_is_not_there(workspace: Path) -> None:
    assert newest("t") is None


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2))
def test_the_fingerprint_sees_rows_and_their_order_and_not_their_chunks(texts: list[str]) -> None:
    whole = pa.table({"x": texts})
    chunked = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    turned = pa.table({"x": texts[::-1]})

    assert fingerprint(whole) == fingerprint(chunked)
    assert (fingerprint(whole) == fingerprint(turned)) is (texts == texts[::-1])


def test_the_fingerprint_sees_names_and_types() -> None:
    assert fingerprint(pa.table({"x": [1]})) != fingerprint(pa.table({"y": [1]}))
    assert fingerprint(pa.table({"x": [1]})) != fingerprint(pa.table({"x": [1.0]}))


def test_a_stages_table_is_read_through_its_pin(workspace: Path) -> None:
    write_pin(Pin(stage="toy", tables={"rows": write_table("toy_rows", table("a"))}, rejections={"bad": 2}))
    write_table("toy_rows", table("b"))

    assert read_pinned("toy", "rows")["id"].to_pylist() == ["a"]
    assert read_pin("toy").rejections == {"bad": 2}


def test_a_pin_names_no_place_so_that_the_lake_may_move(workspace: Path) -> None:
    path = write_pin(Pin(stage="toy", tables={"rows": write_table("toy_rows", table("a"))}))

    assert str(workspace) not in path.read_text()


def test_a_lake_on_s3_is_addressed_by_prefix(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBWHEEL_LAKE_URI", "s3://bucket/lake/")
    settings.cache_clear()

    assert uri("rows") == "s3://bucket/lake/rows"


def test_a_stage_that_has_not_run_is_named(workspace: Path) -> None:
    with pytest.raises(PinError, match="dvc repro toy"):
        read_pin("toy")


@pytest.mark.parametrize("text", ["{", "{}", '{"stage": "toy", "colour": 1}'])
def test_a_damaged_pin_is_named(workspace: Path, text: str) -> None:
    settings().pins.mkdir(parents=True)
    (settings().pins / "toy.json").write_text(text)

    with pytest.raises(PinError, match=r"toy\.json is damaged"):
        read_pin("toy")


def test_a_table_that_a_stage_did_not_write_is_named(workspace: Path) -> None:
    write_pin(Pin(stage="toy"))

    with pytest.raises(PinError, match="wrote no table 'rows'; it wrote: none"):
        read_pinned("toy", "rows")


@pytest.mark.parametrize(("name", "version"), [("t", 7), ("gone", 0)])
def test_a_version_that_the_lake_lacks_is_named(workspace: Path, name: str, version: int) -> None:
    write_table("t", table("a"))

    with pytest.raises(PinError, match=f"'{name}' at version {version} is not in the lake"):
        read_table(TablePin(table=name, version=version, rows=1, fingerprint="x"))


def test_json_that_cannot_be_written_leaves_the_old_file(workspace: Path) -> None:
    path = write_json(workspace / "facts.json", {"a": 1})

    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})

    assert json.loads(path.read_text()) == {"a": 1}
