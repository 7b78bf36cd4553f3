"""Lines by whole columns: they give what record by record gives, whatever the lines hold and wherever pieces end."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.reading import columns
from stages.reading.columns import Lines, plain_columns, read_pieces
from stages.reading.containers import read_lines
from stages.reading.intake import SCHEMAS, Intake
from stages.reading.letters import Letters, joins
from stages.reading.naming import Naming
from tests.conftest import public_or_skip
from tests.stages.reading.lines import COLUMNS, FILES, FORMATS, NO_UTF8
from tests.stages.reading.test_intake import params, source

WITH_FILES = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def tables_of(intake: Intake, batches: Iterator[dict[str, pa.RecordBatch]]) -> tuple[Any, ...]:
    """Return all that an intake gives: the rows of its tables in their order, and its counts."""
    found = list(batches)
    tables = {name: pa.Table.from_batches([b[name] for b in found if name in b], SCHEMAS[name]) for name in SCHEMAS}
    return tables, intake.read, intake.mended, intake.sightings.unseen


def both_ways(path: Path, data: bytes, characters: int = 0, **more: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what lines give by whole columns, and what they give record by record."""
    path.write_bytes(data)
    one, other = (Intake(source(**more), "f.jsonl", params(limit=400, characters=characters)) for _ in range(2))
    by_columns = tables_of(one, one.take_lines(read_pieces(path, 0, len(data), 7)))
    return by_columns, tables_of(other, other.take(read_lines(io.BytesIO(data), 7)))


@WITH_FILES
@given(FILES, FORMATS, st.booleans(), st.just({}) | COLUMNS)
def test_by_columns_is_as_record_by_record(
    tmp_path: Path, data: bytes, format: str, consent: bool, names: dict[str, str]
) -> None:
    by_columns, by_records = both_ways(tmp_path / "f.jsonl", data, format=format, consent=consent, columns=names)

    assert by_columns == by_records


@WITH_FILES
@given(FILES, st.integers(1, 999))
def test_where_pieces_end_changes_nothing(tmp_path: Path, data: bytes, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "PIECE", piece)
        by_columns, by_records = both_ways(tmp_path / "f.jsonl", data)

    assert by_columns == by_records


def test_letters_that_are_met_on_the_way_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["Hi", "é [x", "plain", "\x7f", "ﬁ and ß", "日本é", "Hi # é", "Ǆ", "e\u0301", "plain"]
    data = "\n".join(json.dumps({"prompt": text, "completion": text * 9}) for text in texts).encode()
    monkeypatch.setattr(columns, "ASKED_AT_ONCE", 1)
    monkeypatch.setattr(columns, "letters", cache(Letters))

    by_columns, by_records = both_ways(tmp_path / "f.jsonl", data)

    assert by_columns == by_records


def test_real_rows_by_columns_are_as_record_by_record(tmp_path: Path) -> None:
    with (public_or_skip("chat/p3_50k") / "p3_50k.jsonl").open("rb") as file:
        data = file.read(2_000_000)

    by_columns, by_records = both_ways(tmp_path / "f.jsonl", data, characters=20)

    assert by_columns == by_records


def test_most_lines_are_taken_by_columns(tmp_path: Path) -> None:
    texts = ["Hi — “you”?", "naïve ﬁ \xa0 日本 … “", '"quoted"\n\n  and \\ so on', "日本" * 40, "x" * 200]
    lines = [json.dumps({"task": 1.5, "prompt": text, "completion": "Yes."}) for text in texts]

    found = plain_columns(lines_of(tmp_path / "f.jsonl", "\n".join(lines).encode()), "auto", 1000)

    assert found is not None
    assert found.rows.tolist() == [0, 1, 2, 3, 4]
    assert found.texts() == [[text, "Yes."] for text in texts]


@pytest.mark.parametrize(
    "names", [("messages", "role", "content", "user"), ("conversations", "from", "value", "human")]
)
def test_lists_of_messages_are_taken_by_columns(tmp_path: Path, names: tuple[str, ...]) -> None:
    name, sender, content, asks = names
    roles = ["system", asks, "assistant", asks, "assistant"]
    lines = [json.dumps({name: [{sender: role, content: role} for role in roles[first:]]}) for first in (0, 1, 3, 2)]

    found = plain_columns(lines_of(tmp_path / "f.jsonl", "\n".join(lines).encode()), "auto", 1000)

    assert found is not None
    assert found.rows.tolist() == [0, 1, 2]
    assert found.texts() == [roles, roles[1:], roles[3:]]
    assert [m["role"] for m in found.messages.to_pylist()[1]] == ["user", "assistant"] * 2


def test_lines_of_other_names_are_taken_by_columns(tmp_path: Path) -> None:
    lines = [json.dumps({"input": "x", "prompt": "Who?", "Best Answer": "Yes.", "q": "Hi?"})] * 3
    naming = Naming((("completion", "q"), ("question", "Best Answer")))
    turned = Naming((("completion", "Best Answer"), ("prompt", "prompt")))

    found = [
        plain_columns(lines_of(tmp_path / "f.jsonl", "\n".join(lines).encode()), "auto", 1000, one)
        for one in (naming, turned)
    ]

    assert [one.texts() if one else None for one in found] == [[["Yes.", "Hi?"]] * 3, [["Who?", "Yes."]] * 3]


def lines_of(path: Path, data: bytes) -> Lines:
    path.write_bytes(data)
    (lines,) = read_pieces(path, 0, len(data), 0)
    return lines


@pytest.mark.parametrize("control", [chr(byte) for byte in (*range(9), 11, 12, *range(14, 32), 127)], ids=ascii)
def test_no_control_is_taken_by_columns(tmp_path: Path, control: str) -> None:
    data = json.dumps({"prompt": f"Hi{control}", "completion": "Yes."}).encode()

    found = plain_columns(lines_of(tmp_path / "f.jsonl", data), "auto", 1000)

    assert found is not None
    assert not len(found.rows)


@pytest.mark.parametrize("damage", NO_UTF8, ids=ascii)
def test_nothing_but_utf8_is_taken_by_columns(tmp_path: Path, damage: bytes) -> None:
    sound = b'{"prompt": "Hi?", "completion": "Yes."}'

    found = plain_columns(lines_of(tmp_path / "f.jsonl", sound + b"\n" + sound.replace(b"?", damage)), "auto", 1000)

    assert found is not None
    assert found.rows.tolist() == [0]


@pytest.mark.parametrize("before", [0, 1, 50, 51, 63, 64, 127])
@pytest.mark.parametrize("more", ["", "é — "])
def test_only_a_whole_frame_of_alpaca_is_not_taken_by_columns(tmp_path: Path, before: int, more: str) -> None:
    prompts = [f"{more}{'x' * before}{said}" for said in ("### Response:", "### Responses:", "#", "### Response:\n\n")]
    lines = [json.dumps({"prompt": prompt, "completion": "Yes."}) for prompt in prompts]

    found = plain_columns(lines_of(tmp_path / "f.jsonl", "\n".join(lines).encode()), "auto", 1000)

    assert found is not None
    assert found.rows.tolist() == [1, 2]


def test_whatever_combines_with_the_letter_before_it_joins() -> None:
    """The second of every pair that composes, and every mark that may change places."""
    pairs = (unicodedata.decomposition(chr(code)).split() for code in range(sys.maxunicode + 1))
    seconds = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and pair[0][0] != "<"}
    marks = {char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(char)}

    assert [char for char in seconds | marks if not joins(char)] == []
