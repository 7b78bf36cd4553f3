"""Units: cut without losing a line, read once, kept whole or not at all, and never needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.reading import sources, units
from stages.reading.containers import Record
from stages.reading.intake import RowParams
from stages.reading.mend import LanguageParams
from stages.reading.sources import Source, list_files
from stages.reading.units import Taken, clear_kept, kept, read_unit, take_in, units_of
from thumbwheel.errors import SourceError

CHAT = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]}
PARAMS = RowParams(
    max_characters=100,
    user_salt="salt",
    language=LanguageParams(characters=0, min_characters=24, min_confidence=0.5),
)


def source(**more: Any) -> Source:
    said = {"name": "s", "uri": "*.jsonl", "format": "auto", "kind": "both", "licence": "CC0-1.0", "lang": "en"}
    return Source.model_validate({**said, "objective": "helpful", "consent": True, **more})


def units_here(of: Source | None = None) -> list[units.Unit]:
    of = of or source()
    return [unit for file in list_files(of) for unit in units_of(of, file, PARAMS)]


def rows(taken: list[Taken], table: str) -> list[dict[str, Any]]:
    return [row for unit in taken for batch in unit.batches(table) for row in batch.to_pylist()]


def write(path: Path, number: int, first: int = 0) -> None:
    path.write_text("".join(json.dumps({**CHAT, "topic": str(first + n)}) + "\n" for n in range(number)))


def test_a_long_file_in_utf_16_is_not_cut_within_a_character(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "STRETCH", 64)
    write(workspace / "a.jsonl", 5)
    (workspace / "b.jsonl").write_bytes(("\ufeff" + (workspace / "a.jsonl").read_text()).encode("utf-16-le"))
    one, other = (rows(take_in(units_here(source(uri=uri))), "conversations") for uri in ("a.jsonl", "b.jsonl"))
    assert [row["messages"] for row in one] == [row["messages"] for row in other]
    assert len(one) == 5


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, as they are read."""
    seen: list[str] = []
    original = sources.read

    def read(file: sources.File) -> Iterator[Record]:
        seen.append(str(file["uri"]))
        return original(file)

    monkeypatch.setattr(sources, "read", read)
    return seen


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["", "x" * 30, json.dumps(CHAT), "é" * 9]), max_size=20),
    st.integers(1, 200),
    st.booleans(),
)
def test_stretches_hold_every_line_once_with_its_number(
    workspace: Path, lines: list[str], stretch: int, by_columns: bool
) -> None:
    (workspace / "rows.jsonl").write_text("\n".join(lines))
    whole = rows([read_unit(units_here()[0])], "origins")
    bad = rows([read_unit(units_here()[0])], "quarantine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "STRETCH", stretch)
        patch.setattr(units, "BY_COLUMNS", 0 if by_columns else units.BY_COLUMNS)
        cut = take_in(units_here())

    assert rows(cut, "origins") == whole
    assert rows(cut, "quarantine") == bad


def test_a_long_file_is_cut_and_its_rows_stay_in_order(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "STRETCH", 1000)
    write(workspace / "a.jsonl", 200)
    found = units_here()

    assert len(found) > 10
    assert [row["topic"] for row in rows(take_in(found), "conversations")] == [str(n) for n in range(200)]


def test_a_file_that_did_not_change_is_not_read_again(workspace: Path, read_files: list[str]) -> None:
    for name in "ab":
        write(workspace / f"{name}.jsonl", 3)
    first = rows(take_in(units_here()), "conversations")
    write(workspace / "b.jsonl", 4)
    second = rows(take_in(units_here()), "conversations")

    assert read_files == ["a.jsonl", "b.jsonl", "b.jsonl"]
    assert (len(first), len(second)) == (6, 7)


@pytest.mark.parametrize(
    "change", [{"lang": "de"}, {"licence": "MIT"}, {"consent": False}, {"name": "t"}, {"columns": {"lang": "l"}}]
)
def test_other_settings_of_a_source_read_its_files_again(
    workspace: Path, read_files: list[str], change: dict[str, Any]
) -> None:
    write(workspace / "a.jsonl", 1)
    take_in(units_here())
    take_in(units_here(source(**change)))

    assert len(read_files) == 2


def test_other_code_reads_files_again(workspace: Path, read_files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace / "a.jsonl", 1)
    take_in(units_here())
    monkeypatch.setattr(units, "_code", lambda: "other")
    take_in(units_here())

    assert len(read_files) == 2


@pytest.mark.parametrize("damage", ["cut", "gone", "counts"])
def test_what_was_kept_and_is_damaged_is_read_again(workspace: Path, read_files: list[str], damage: str) -> None:
    write(workspace / "a.jsonl", 3)
    (taken,) = take_in(units_here())
    path = taken.folder / ("counts.json" if damage == "counts" else "conversations.arrow")
    path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-9])

    again = take_in(units_here())

    assert len(rows(again, "conversations")) == 3
    assert len(read_files) == 2


def test_a_run_without_what_was_kept_ends_the_same(workspace: Path) -> None:
    write(workspace / "a.jsonl", 3)
    before = rows(take_in(units_here()), "conversations")
    shutil.rmtree(kept())

    assert rows(take_in(units_here()), "conversations") == before


def test_a_corrupt_file_keeps_nothing(workspace: Path) -> None:
    (workspace / "a.json").write_text('[{"prompt": "a", "completion": "b"}, nonsense]')

    with pytest.raises(SourceError, match=r"'a\.json' is corrupt"):
        take_in(units_here(source(uri="a.json")))

    assert [path for path in kept().iterdir() if not path.name.endswith(".part")] == []


@pytest.mark.parametrize("change", ["grows", "shrinks", "is other", "goes"])
def test_a_file_that_changes_while_it_is_read_is_refused_and_nothing_of_it_kept(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = workspace / "a.jsonl"
    write(path, 50)
    original = sources.read

    def read(file: sources.File) -> Iterator[Record]:
        records = original(file)
        yield next(records)
        if change == "goes":
            path.unlink()
        else:
            write(path, {"grows": 60, "shrinks": 20, "is other": 50}[change], first=7)
        yield from records

    monkeypatch.setattr(sources, "read", read)
    with pytest.raises(SourceError, match=r"'a\.jsonl' changed while it was read; look again"):
        take_in(units_here())

    assert list(kept().iterdir()) == []


def test_only_what_is_long_unused_is_cleared(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace / "a.jsonl", 1)
    (taken,) = take_in(units_here())
    clear_kept()
    assert taken.folder.exists()
    monkeypatch.setattr(units, "KEPT_SECONDS", -1)
    clear_kept()
    assert not taken.folder.exists()


@pytest.mark.slow
def test_processes_of_their_own_give_the_same_rows(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "STRETCH", 4000)
    write(workspace / "a.jsonl", 500)
    alone = rows(take_in(units_here()), "conversations")
    shutil.rmtree(kept())
    monkeypatch.setattr(units, "POOLED", 0)

    assert rows(take_in(units_here()), "conversations") == alone
