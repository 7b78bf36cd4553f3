"""Intake: no record crashes it or is lost unseen, whatever it holds; what is mended is counted."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.reading import chats, intake
from stages.reading.arrays import to_batch
from stages.reading.containers import Record, read_lines
from stages.reading.intake import SCHEMAS, Intake, RowParams
from stages.reading.mend import LanguageParams
from stages.reading.sources import Source
from tests.stages.reading.test_formats import RECORDS
from thumbwheel.records import CONVERSATION, conversation_id, to_table, user_hash

USER, ANSWER = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}
CHAT = {"messages": [USER, ANSWER]}


def source(**more: Any) -> Source:
    settings = {"name": "s", "uri": "u", "format": "auto", "kind": "both", "licence": "CC0-1.0", "lang": "xx"}
    return Source.model_validate({**settings, "objective": "helpful", "consent": True, **more})


def params(limit: int = 100, characters: int = 0) -> RowParams:
    language = LanguageParams(characters=characters, min_characters=24, min_confidence=0.5)
    return RowParams(max_characters=limit, user_salt="salt", language=language)


def take(records: list[Record], of: RowParams | None = None, **more: Any) -> tuple[dict[str, list[Any]], Intake]:
    taken = Intake(source(**more), "f.jsonl", of or params())
    tables: dict[str, list[Any]] = {name: [] for name in SCHEMAS}
    for batches in taken.take(records):
        for name, batch in batches.items():
            assert batch.schema == SCHEMAS[name]
            tables[name] += batch.to_pylist()
    return tables, taken


def take_values(*values: Any, **more: Any) -> dict[str, list[Any]]:
    return take([Record(row, value) for row, value in enumerate(values)], **more)[0]


def assert_none_is_lost(records: list[Record], tables: dict[str, list[Any]], taken: Intake) -> None:
    """Every record gave rows, or stands in quarantine; and every row of a table has its origin."""
    places = {row["row"] for row in tables["origins"]} | {row["line"] for row in tables["quarantine"]}
    assert places == {record.row for record in records}
    assert taken.read == len(records)
    assert len(tables["origins"]) == len(tables["conversations"]) + len(tables["preferences"])


MOMENTS = st.sampled_from([0, 1e300, -1e18, float("nan"), "0001-01-01T00:00:00+14:00", "today", [], True, 2**70])
SAID = st.fixed_dictionaries(
    {},
    optional={
        "user": st.text() | st.integers() | st.none() | st.just("\ud800"),
        "topic": st.text() | st.just("\udfff\x00"),
        "lang": st.text(max_size=3) | st.integers(),
        "created_at": MOMENTS,
        "consent": st.booleans() | st.text(max_size=3) | st.none(),
        "\ud800": st.just(1),
    },
)
CHATS = st.lists(st.text() | st.just("â€™ Ã©"), min_size=2, max_size=2).map(
    lambda texts: {"messages": [{"role": r, "content": t} for r, t in zip(("user", "assistant"), texts, strict=True)]}
)
ANY = st.one_of(RECORDS, CHATS, st.text(), st.none(), st.lists(st.integers()))


@settings(max_examples=300)
@given(st.lists(st.tuples(ANY, SAID), max_size=6))
def test_any_records_are_taken_or_turned_away_and_none_is_lost(values: list[Any]) -> None:
    rows = [{**value, **said} if isinstance(value, dict) else value for value, said in values]
    records = [Record(row, value) for row, value in enumerate(rows)]

    assert_none_is_lost(records, *take(records))


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=60) | CHATS.map(lambda chat: json.dumps(chat).encode()), max_size=6))
def test_any_bytes_are_taken_or_turned_away_line_by_line(lines: list[bytes]) -> None:
    records = list(read_lines(io.BytesIO(b"\n".join(line.replace(b"\n", b" ") for line in lines))))

    assert_none_is_lost(records, *take(records))


HARD = [
    '{"messages": [{"role": "user", "content": "\\u0000"}, {"role": "assistant", "content": "a"}]}',
    '{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "a"}]}',
    '{"topic": "\\ud800", "user": "\\udc00", "prompt": "a", "completion": "b"}',
    '{"\\ud800": 1}',
    '{"prompt": ' + "[" * 900 + "]" * 900 + ', "completion": "x"}',
    '{"prompt": ' + "[" * 90_000 + "]" * 90_000 + ', "completion": "x"}',
    '{"prompt": "[{' + "[" * 90_000 + '", "completion": "x"}',
    '{"message_tree_id": 1, "prompt": ' + '{"role": "prompter", "text": "a", "replies": [' * 400 + "]}" * 400 + "}",
    '{"prompt": "' + "a" * 10_000_000 + '", "completion": "b"}',
    '{"prompt": "مرحبا \\u202e שלום", "completion": "👩‍👩‍👧‍👦🏳️‍🌈"}',
    '{"messages": ' + "1" * 5000 + "}",
    '{"prompt": NaN, "completion": Infinity}',
    "\ufeff" + json.dumps(CHAT),
    "null",
]


@pytest.mark.parametrize("line", HARD, ids=lambda line: str(line)[:24].encode().hex()[:20])
def test_a_hard_row_is_never_lost(line: str) -> None:
    data = f"{json.dumps(CHAT)}\n{line}\n{json.dumps(CHAT)}\n".encode()
    records = list(read_lines(io.BytesIO(data)))

    tables, taken = take(records)

    assert_none_is_lost(records, tables, taken)
    assert len(records) == 3
    assert [row["row"] for row in tables["origins"] if row["row"] != 1] == [0, 2]


def test_emoji_and_text_from_right_to_left_are_good_rows() -> None:
    tables = take_values({"prompt": "مرحبا שלום", "completion": "👩‍👩‍👧‍👦🏳️‍🌈"})

    assert [m["content"] for m in tables["conversations"][0]["messages"]] == ["مرحبا שלום", "👩‍👩‍👧‍👦🏳️‍🌈"]


def test_mojibake_is_mended_and_counted_and_the_row_says_so() -> None:
    bad = "c’est déjà l’été".encode().decode("windows-1252")
    good = "c’est déjà l’été"
    records = [Record(0, {"prompt": "Hi?", "completion": bad}), Record(1, CHAT)]

    tables, taken = take(records)

    chat, plain = tables["conversations"]
    assert chat["messages"][1]["content"] == good
    assert chat["id"] == conversation_id([USER, {"role": "assistant", "content": good}])
    assert taken.mended == 1
    assert json.loads(chat["meta"]) == {"file": "f.jsonl", "row": 0, "mended": True}
    assert json.loads(plain["meta"]) == {"file": "f.jsonl", "row": 1}


def test_a_pair_is_mended_too_and_one_that_then_says_the_same_is_turned_away() -> None:
    bad = "déjà là".encode().decode("windows-1252")
    tables = take_values(
        {"prompt": bad, "chosen": bad, "rejected": "no"}, {"prompt": "x", "chosen": bad, "rejected": "déjà là"}
    )

    (pair,) = tables["preferences"]
    assert (pair["prompt"][0]["content"], pair["chosen"]) == ("déjà là", "déjà là")
    assert [row["reason"] for row in tables["quarantine"]] == ["identical"]


def test_a_rows_own_language_wins_then_what_is_told_then_the_sources() -> None:
    german = {"prompt": "Wie lange hält die Batterie im Ventil?", "completion": "Etwa zwei Jahre, wenn es kühl steht."}
    of = params(characters=120)
    records = [Record(0, {**german, "lang": "nl"}), Record(1, german), Record(2, CHAT)]

    tables, _ = take(records, of)

    assert [row["lang"] for row in tables["conversations"]] == ["nl", "de", "xx"]


def test_a_rows_own_licence_wins() -> None:
    tables = take_values({**CHAT, "licence": "MIT"}, CHAT)

    assert [row["licence"] for row in tables["conversations"]] == ["MIT", "CC0-1.0"]


def test_a_pseudonym_stays_and_any_other_user_becomes_one() -> None:
    known = user_hash("ada", b"elsewhere")
    tables = take_values({**CHAT, "user": known}, {**CHAT, "user": "ada"}, {**CHAT, "user_id": 2**70})

    assert [row["user"] for row in tables["conversations"]] == [
        known,
        user_hash("ada", b"salt"),
        user_hash(str(2**70), b"salt"),
    ]


def test_rows_are_handed_on_before_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BATCH_CHARACTERS", 40)
    taken = Intake(source(), "f.jsonl", params())

    sizes = [b["conversations"].num_rows for b in taken.take([Record(n, CHAT) for n in range(30)]) if b]

    assert sum(sizes) == 30
    assert max(sizes) < 8


@pytest.mark.parametrize("number", [chats.AT_ONCE, chats.AT_ONCE + 1])
def test_all_of_many_conversations_have_the_ids_of_their_own(number: int) -> None:
    texts = [f"Hi {place}" for place in range(number)]
    tables = take_values(*({"prompt": text, "completion": "Hello."} for text in texts))

    expected = [conversation_id([{"role": "user", "content": text}, ANSWER]) for text in texts]
    assert [row["id"] for row in tables["conversations"]] == expected
    assert [row["id"] for row in tables["origins"]] == expected


@given(st.lists(CHATS, max_size=5))
def test_a_batch_by_its_leaves_is_the_batch_by_its_dictionaries(talks: list[Any]) -> None:
    rows = [("i", chat["messages"], "s", "l", "en", None, None, None, True, "{}") for chat in talks]
    expected = to_table([dict(zip(CONVERSATION.names, row, strict=True)) for row in rows], CONVERSATION)

    if rows:
        assert pa.Table.from_batches([to_batch(zip(*rows, strict=True), CONVERSATION)]) == expected
