"""Columns of other names: what a mapping may be, and that its source gives what the same rows in our names give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.reading.containers import Record, read_csv, read_lines
from stages.reading.formats import SHAPES
from stages.reading.naming import OURS, SYNONYMS, Naming
from tests.conftest import public_or_skip
from tests.stages.reading.lines import FORMATS
from tests.stages.reading.lines import SHAPES as LINES
from tests.stages.reading.test_formats import RECORDS
from tests.stages.reading.test_intake import SAID, params, source, take, take_values

TEXT = {"prompt": "q", "completion": "a"}


class Asked(Mapping[str, Any]):
    """A record that notes what it is asked for."""

    def __init__(self, **values: Any) -> None:
        self.own, self.names = values, set[str]()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return self.own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.own)

    def __len__(self) -> int:
        return len(self.own)


ASKED = (
    {},
    {"prompt": "Hi?", "completion": "Hello."},
    {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."},
    {"instruction": "Hi?", "output": "Hello.", "history": [["a", "b"]]},
)


def test_our_names_are_those_that_records_are_asked_for() -> None:
    asked = [Asked(**values) for values in ASKED]
    for format in ("auto", *SHAPES):
        take_values(*asked, format=format)

    assert {name for record in asked for name in record.names} == set(OURS)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"promt": "q"}, r"columns\n.*'promt' is none of our names; did you mean 'prompt'\?"),
        ({"x": "q"}, "'x' is none of our names; there are: messages, conversations"),
        ({"prompt": "q", "completion": "q"}, "the column 'q' stands for 2 of our names"),
        ({"completion": "a", "answer": "b"}, "'completion' and 'answer' mean the same"),
        ({"prompt": "mends"}, "a column cannot be called 'mends'"),
        ({"prompt": "was.text"}, "a column cannot be called 'was.text'"),
        ({"prompt": 1}, "columns.prompt"),
        (["prompt"], "columns"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(columns: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        source(columns=columns)


@pytest.mark.parametrize(
    ("columns", "record", "named"),
    [
        ({}, {"q": 1}, {"q": 1}),
        (TEXT, {"q": 1, "a": 2, "n": 3}, {"prompt": 1, "completion": 2, "n": 3}),
        ({"prompt": "label", "label": "prompt"}, {"prompt": 1, "label": 2}, {"prompt": 2, "label": 1}),
        ({"prompt": "q"}, {"q": 1, "prompt": 2, "question": 3, "answer": 4}, {"prompt": 1, "answer": 4}),
        ({"question": "q"}, {"q": 1, "prompt": 2}, {"question": 1}),
        ({"prompt": "q"}, {"prompt": 2, "answer": 4}, {"answer": 4}),
        ({"prompt": "prompt"}, {"prompt": 2}, {"prompt": 2}),
        ({"user": "meta.by"}, {"meta": {"by": "ann"}}, {"meta": {"by": "ann"}, "user": "ann"}),
        ({"user": "meta.by"}, {"meta": {"by": "ann"}, "meta.by": "bea"}, {"meta": {"by": "ann"}, "user": "bea"}),
        ({"user": "meta.by"}, {"meta": "by"}, {"meta": "by"}),
        (TEXT, ["q", "a"], ["q", "a"]),
    ],
)
def test_a_record_is_read_by_our_names(columns: dict[str, str], record: Any, named: Any) -> None:
    assert Naming(tuple(columns.items())).of(record) == named


THEIRS = st.permutations([*OURS, "q", "a", "Best Answer", "übung", "meta.by"])


@st.composite
def mappings(draw: st.DrawFn) -> dict[str, str]:
    """Return mappings of some of our names, one of each meaning, to names of whatever sort."""
    ours = [draw(st.sampled_from(names)) for names in SYNONYMS if draw(st.booleans())]
    return dict(zip(ours, draw(THEIRS), strict=False))


def in_their_names(record: Any, columns: Mapping[str, str]) -> Any:
    """Return a record as a source with these columns would have it; what it cannot tell apart is left out."""
    if not isinstance(record, dict):
        return record
    naming = Naming(tuple(columns.items()))
    free = {name: value for name, value in record.items() if name not in columns}
    kept = {name: value for name, value in free.items() if naming.of({name: value}) == {name: value}}
    return {**kept, **{columns[name]: record[name] for name in columns if name in record}}


ANY = st.one_of(RECORDS, *LINES, st.text(), st.none()).flatmap(
    lambda value: SAID.map(lambda said: {**value, **said} if isinstance(value, dict) else value)
)


@settings(deadline=None)
@given(st.lists(ANY, max_size=5), mappings(), FORMATS)
def test_a_source_gives_what_its_rows_give_in_our_names(
    values: list[Any], columns: dict[str, str], format: str
) -> None:
    written = [in_their_names(value, columns) for value in values]
    renamed = [Naming(tuple(columns.items())).of(value) for value in written]

    assert all(
        new[name] is old[name]
        for new, old in zip(renamed, values, strict=True)
        if isinstance(old, dict)
        for name in columns.keys() & old.keys()
    )
    theirs, ours = take_values(*written, format=format, columns=columns), take_values(*renamed, format=format)

    assert [(q["line"], q["reason"]) for q in theirs.pop("quarantine")] == [
        (q["line"], q["reason"]) for q in ours.pop("quarantine")
    ]
    assert theirs == ours


def test_what_a_row_says_of_itself_is_found_in_its_columns() -> None:
    columns = {**TEXT, "user": "meta.by", "lang": "tongue", "licence": "terms", "created_at": "on", "topic": "about"}
    row = {"q": "Hi?", "a": "Hello.", "meta": {"by": "ann"}, "tongue": "de", "terms": "MIT", "on": 0, "about": "hub"}

    (chat,) = take_values(row, columns=columns)["conversations"]
    (plain,) = take_values({"prompt": "Hi?", "completion": "Hello.", "user": "ann"})["conversations"]

    assert (chat["user"], chat["lang"], chat["licence"], chat["topic"]) == (plain["user"], "de", "MIT", "hub")
    assert chat["created_at"] == "1970-01-01T00:00:00+00:00"


def test_a_row_without_consent_by_its_own_column_keeps_no_text() -> None:
    row = {"q": "Hi?", "a": "", "agreed": "no"}

    (misfit,) = take_values(row, columns={**TEXT, "consent": "agreed"})["quarantine"]

    assert (misfit["reason"], misfit["row"]) == ("no_consent", "")
    assert "agreed" not in misfit["detail"]


def test_a_row_that_lacks_a_column_says_which_it_has_and_is_shown_as_it_stands() -> None:
    row = {"q": "Hi?", "right_answer": "Hello."}

    (misfit,) = take_values(row, columns={"prompt": "q", "completion": "right_anwser"})["quarantine"]

    assert misfit["reason"] == "shape"
    assert misfit["detail"].startswith("it has no column right_anwser, only q, right_answer; ")
    assert json.loads(misfit["row"]) == row


def test_columns_that_some_record_has_are_seen() -> None:
    rows = [{"q": "Hi?"}, {"q": "Hi?", "a": "Hello."}]
    columns = {**TEXT, "user": "by"}

    _, taken = take([Record(row, value) for row, value in enumerate(rows)], columns=columns)

    assert taken.sightings.unseen == {"by"}
    assert taken.sightings.columns == ["q"]


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**20 + 1])
def test_a_users_number_beyond_64_bits_stays_exact_under_any_name(number: int) -> None:
    (ours,) = take_values({"prompt": "Hi?", "completion": "Hello.", "user": number})["conversations"]

    for by, column in ((b'"by": %d', "by"), (b'"meta": {"of": {"by": %d}}', "meta.of.by")):
        records = list(read_lines([b'{"q": "Hi?", "a": "Hello.", %b}' % (by % number)]))
        (mapped,) = take(records, columns={**TEXT, "user": column})[0]["conversations"]
        assert mapped["user"] == ours["user"] is not None


def test_a_public_data_set_of_other_names_is_read() -> None:
    columns = {"prompt": "Question", "completion": "Best Answer", "topic": "Category"}
    with (public_or_skip("benchmarks/truthfulqa") / "TruthfulQA.csv").open("rb") as file:
        records = list(read_csv(file))

    tables, _ = take(records, of=params(limit=5000), columns=columns)
    rows = [record.value for record in records]

    assert tables["quarantine"] == []
    assert [[m["content"] for m in chat["messages"]] for chat in tables["conversations"]] == [
        [row["Question"], row["Best Answer"]] for row in rows
    ]
    assert [chat["topic"] for chat in tables["conversations"]] == [row["Category"].strip() for row in rows]
