"""The plain record: taken at a glance, it gives what record by record gives; and the common shapes are plain."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.reading import containers
from stages.reading.containers import Record
from stages.reading.heap import lean
from stages.reading.identity import MARKED, conversation_ids
from stages.reading.intake import SCHEMAS, Intake
from stages.reading.messages import CONTROLS
from stages.reading.plain import in_turn, plain_chats
from tests.conftest import public_or_skip
from tests.stages.reading.test_formats import RECORDS
from tests.stages.reading.test_intake import CHATS, SAID, params, source
from thumbwheel.folding import FOLDED, fold
from thumbwheel.records import conversation_id

ODD = st.sampled_from(
    ["", " ", "a", "\n\n", "â€™ Ã©", "’", "\x00", "\x7f", "\ufffd", "\ud800", "[{", "A  b", "\xa0", "ﬁ"]
)
TEXT = st.text(max_size=8) | st.lists(ODD | st.just("### Response:"), max_size=4).map("".join) | st.none() | st.just(7)
ROLE = st.sampled_from(["user", "assistant", "system", "human", "gpt", "Human", "tool", None, 7])
TURN = st.fixed_dictionaries({"role": ROLE, "content": TEXT}) | st.fixed_dictionaries({"from": ROLE, "value": TEXT})
ODDS = st.sampled_from([None, True, False, [], [["a", "b"]], "a"])


def talk(texts: list[str]) -> list[dict[str, str]]:
    """Return texts as messages in turn, the system's first where they are odd in number."""
    roles = ("system",) * (len(texts) % 2) + ("user", "assistant") * (len(texts) // 2)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]


SHAPED = st.one_of(
    st.fixed_dictionaries(
        {"prompt": TEXT, "completion": TEXT}, optional={"system": TEXT, "label": ODDS, "answer": TEXT}
    ),
    st.fixed_dictionaries({"instruction": TEXT, "output": TEXT}, optional={"input": TEXT, "history": ODDS}),
    st.fixed_dictionaries({"messages": st.lists(TURN, max_size=4)}, optional={"system": TEXT}),
    st.fixed_dictionaries({"conversations": st.lists(TURN, max_size=4)}, optional={"system": TEXT}),
)
SAYS = st.text(min_size=1, max_size=8) | st.sampled_from(
    ["a", "’ É…", "â€™ Ã©", "e\u0301 x", "日本", "  A \n b ", "\x1f"]
)
ALIKE = st.one_of(
    st.lists(st.fixed_dictionaries({"prompt": SAYS, "completion": SAYS}), max_size=7),
    st.lists(st.fixed_dictionaries({"instruction": SAYS, "input": st.just("") | SAYS, "output": SAYS}), max_size=7),
    st.lists(st.lists(SAYS, max_size=5).map(lambda texts: {"messages": talk(texts)}), max_size=7),
)
FORMATS = st.sampled_from(["auto", "messages", "sharegpt", "alpaca", "prompt_completion", "preference"])
PLAIN = [
    {"prompt": "Hi — “you”?", "completion": "Hello."},
    {"instruction": "Greet.", "input": "", "output": "Hello."},
    {"messages": [{"role": r, "content": "Hi"} for r in ("system", "user", "assistant")], "user": "ada"},
    {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}], "id": 7},
]


class Slow(Intake):
    """Takes nothing at a glance."""

    def _accept_plain(self, records: Sequence[Record]) -> bool:
        return False


def outcome(kind: type[Intake], values: list[Any], **more: Any) -> tuple[Any, ...]:
    """Return all that an intake gives of values: the rows of its tables in their order, and its counts."""
    taken = kind(source(**more), "f.jsonl", params(limit=30, characters=120))
    batches = list(taken.take(Record(row, value) for row, value in enumerate(values)))
    tables = {name: pa.Table.from_batches([b[name] for b in batches if name in b], SCHEMAS[name]) for name in SCHEMAS}
    return taken.read, taken.mended, tables


@settings(max_examples=400)
@given(st.lists(st.tuples(SHAPED | RECORDS | CHATS, SAID), max_size=6), FORMATS, st.booleans())
def test_at_a_glance_is_as_record_by_record(values: list[Any], format: str, consent: bool) -> None:
    rows = [{**value, **said} if isinstance(value, dict) else value for value, said in values]

    assert outcome(Intake, rows, format=format, consent=consent) == outcome(Slow, rows, format=format, consent=consent)


@settings(max_examples=400)
@given(ALIKE, st.booleans(), st.integers(1, 4))
def test_records_alike_are_taken_together_as_one_by_one(values: list[Any], consent: bool, handful: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(containers, "HANDFUL", handful)
        assert outcome(Intake, values, consent=consent) == outcome(Slow, values, consent=consent)


def test_a_handful_is_taken_at_once_mojibake_and_all() -> None:
    bad = "c’est déjà l’été".encode().decode("windows-1252")
    plain = plain_chats([{"prompt": "Hi?", "completion": text} for text in ("É…", bad, "Hello.")], "auto")

    assert plain is not None
    assert plain.texts[3] == "c’est déjà l’été"
    assert plain.folded == [fold(text) for text in plain.texts]
    assert plain.are_mended() == [False, True, False]


@pytest.mark.parametrize("name", ["chat/p3_50k", "chat/gpteacher"])
def test_real_rows_at_a_glance_are_as_record_by_record(name: str) -> None:
    files = sorted(file for file in public_or_skip(name).iterdir() if file.suffix in (".json", ".jsonl"))
    rows = [row for file in files for row in _head(file)]
    assert rows

    assert outcome(Intake, rows) == outcome(Slow, rows)


def _head(file: Any) -> list[Any]:
    with file.open() as lines:
        if file.suffix == ".jsonl":
            return [json.loads(line) for line, _ in zip(lines, range(1500), strict=False)]
        return list(json.load(lines))[:1500]


@pytest.mark.parametrize("record", PLAIN, ids=lambda record: next(iter(record)))
def test_the_common_shapes_are_plain(record: Any) -> None:
    plain = plain_chats([record], "auto")

    assert plain is not None
    assert plain.says_more == ("user" in record)


@given(st.lists(st.lists(st.text(st.sampled_from(" \n\tab\u3000Éß")) | st.text(), max_size=3), max_size=6))
def test_many_ids_at_once_are_each_its_own(chats: list[list[str]]) -> None:
    roles = [tuple("user" if turn % 2 else "assistant" for turn in range(len(chat))) for chat in chats]
    folded = [fold(text) for chat in chats for text in chat]
    messages = [
        [{"role": r, "content": t} for r, t in zip(*each, strict=True)] for each in zip(roles, chats, strict=True)
    ]

    assert conversation_ids(roles, folded) == [conversation_id(chat) for chat in messages]


@given(st.text())
def test_the_mark_of_controls_changes_nothing_else(text: str) -> None:
    clean = "".join(char for char in text if ord(char) > 127 or MARKED[ord(char)])

    assert fold(clean, MARKED) == fold(clean, FOLDED)


@pytest.mark.parametrize(
    ("roles", "fits"),
    [
        ("user assistant", True),
        ("system user assistant user assistant", True),
        ("", False),
        ("system", False),
        ("user", False),
        ("assistant user", False),
        ("user system assistant", False),
        ("system system user assistant", False),
    ],
)
def test_roles_are_in_turn_or_not(roles: str, fits: bool) -> None:
    assert in_turn(tuple(roles.split())) is fits


def test_memory_is_as_it_was_once_the_rows_are_through() -> None:
    before = pa.default_memory_pool().backend_name
    with contextlib.suppress(ValueError), lean():
        inside = pa.default_memory_pool().backend_name
        raise ValueError("a row that no one foresaw")
    assert inside == "system"
    assert pa.default_memory_pool().backend_name == before


@pytest.mark.parametrize("control", [chr(byte) for byte in CONTROLS], ids=ascii)
def test_no_control_passes_at_a_glance(control: str) -> None:
    assert plain_chats([{"prompt": "Hi?", "completion": f"Hello.{control}"}], "auto") is None
