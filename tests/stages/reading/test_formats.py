"""Each shape's rows, and the named reason of each misfit."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.reading.formats import SHAPES, read_record, shape_of
from stages.reading.messages import REASONS, Chat, Misfit, Pair

USER, ANSWER = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}
HH = "\n\nHuman: a pen?\n\nAssistant: which?\n\nHuman: mine\n\nAssistant: "


PEN = {"role": "user", "content": "a pen?"}
KIND = {"role": "system", "content": "Be kind."}


def node(text: str, role: str, *replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"text": text, "role": role, "replies": list(replies), **more}


def rows(record: Any, format: str = "auto") -> list[Chat | Pair]:
    return list(read_record(record, format))


def messages(record: Any) -> list[tuple[str, str]]:
    (chat,) = rows(record)
    assert isinstance(chat, Chat)
    return [(m["role"], m["content"]) for m in chat.messages]


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [USER, ANSWER]},
        {"messages": json.dumps([USER, ANSWER])},
        {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]},
        {"instruction": "Hi?", "input": "", "output": "Hello."},
        {"instruction": "Hi?", "context": "", "response": "Hello.", "category": "chat"},
        {"prompt": "Hi?", "completion": "Hello."},
        {"prompt": "Below is an instruction.\n\n### Instruction:\nHi?\n\n### Response:\n", "response": "Hello."},
        {"question": "Hi?", "answer": "Hello.", "label": True},
        {"prompt": [USER], "completion": [ANSWER]},
        {"message_tree_id": "t", "prompt": node("Hi?", "prompter", node("Hello.", "assistant"))},
    ],
)
def test_every_shape_is_told_by_its_keys_and_gives_the_same_conversation(record: dict[str, Any]) -> None:
    assert messages(record) == [("user", "Hi?"), ("assistant", "Hello.")]


def test_an_alpaca_input_follows_the_instruction() -> None:
    record = {"instruction": "Translate.", "input": "eau", "output": "water"}
    assert messages(record)[0] == ("user", "Translate.\n\neau")


def test_a_system_message_may_stand_first() -> None:
    record = {"messages": [{"role": "system", "content": "Be kind."}, USER, ANSWER]}
    assert [role for role, _ in messages(record)] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    "record",
    [
        {"system": "Be kind.", "messages": [USER, ANSWER]},
        {"system": "Be kind.", "messages": [KIND, USER, ANSWER]},
        {
            "system": "Be kind.",
            "conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}],
        },
        {"system": "Be kind.", "instruction": "Hi?", "output": "Hello."},
        {"system": "Be kind.", "prompt": [USER], "completion": "Hello."},
    ],
)
def test_a_system_message_beside_the_turns_is_not_lost(record: dict[str, Any]) -> None:
    assert messages(record) == [("system", "Be kind."), ("user", "Hi?"), ("assistant", "Hello.")]


def test_a_pairs_system_message_and_the_turns_before_its_prompt_are_not_lost() -> None:
    sides = [[USER, ANSWER, PEN, {"role": "assistant", "content": reply}] for reply in ("blue", "red")]
    (pair,) = rows({"system": "Be kind.", "prompt": "a pen?", "chosen": sides[0], "rejected": sides[1]})
    assert isinstance(pair, Pair)
    assert pair.prompt == [KIND, USER, ANSWER, PEN]


def test_the_history_of_an_instruction_stands_before_it() -> None:
    record = {"instruction": "And?", "output": "Done.", "history": [["Hi?", "Hello."]]}
    assert [text for _, text in messages(record)] == ["Hi?", "Hello.", "And?", "Done."]


def test_text_that_is_json_is_text() -> None:
    assert messages({"prompt": '[{"a": 1}]', "completion": "[{}]"}) == [("user", '[{"a": 1}]'), ("assistant", "[{}]")]
    (pair,) = rows({"prompt": "List.", "chosen": '[{"a": 1}]', "rejected": '[{"b": 1}]'})
    assert isinstance(pair, Pair)
    assert pair.chosen == '[{"a": 1}]'


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "a pen?", "chosen": "blue", "rejected": "red"},
        {"prompt": [{"role": "user", "content": "a pen?"}], "chosen": "blue", "rejected": "red"},
        {
            "chosen": [{"role": "user", "content": "a pen?"}, {"role": "assistant", "content": "blue"}],
            "rejected": [{"role": "user", "content": "a pen?"}, {"role": "assistant", "content": "red"}],
        },
        {"chosen": "\n\nHuman: a pen?\n\nAssistant: blue", "rejected": "\n\nHuman: a pen?\n\nAssistant: red"},
        {"question": "a pen?", "chosen": "blue", "rejected": "red"},
        {"instruction": "a pen?", "input": "", "chosen": "blue", "rejected": "red"},
        {"prompt": "a pen?", "chosen": [PEN, {"role": "assistant", "content": "blue"}], "rejected": "red"},
    ],
)
def test_every_way_of_writing_a_pair_gives_the_same_pair(record: dict[str, Any]) -> None:
    (pair,) = rows(record)
    assert isinstance(pair, Pair)
    assert (pair.prompt, pair.chosen, pair.rejected) == ([{"role": "user", "content": "a pen?"}], "blue", "red")


def test_an_hh_transcript_keeps_the_turns_before_the_fork() -> None:
    (pair,) = rows({"chosen": HH + "blue", "rejected": HH + "red"})
    assert isinstance(pair, Pair)
    assert [m["content"] for m in pair.prompt] == ["a pen?", "which?", "mine"]


def test_a_tree_gives_its_best_path_and_its_best_two_replies() -> None:
    best = node("good", "assistant", node("more?", "prompter", node("sure", "assistant")), rank=0)
    tree = node("Hi?", "prompter", node("bad", "assistant", rank=1), best, node("worst", "assistant", rank=2))
    chat, pair = rows({"message_tree_id": "t", "prompt": tree})
    assert isinstance(chat, Chat)
    assert isinstance(pair, Pair)
    assert [m["content"] for m in chat.messages] == ["Hi?", "good", "more?", "sure"]
    assert (pair.chosen, pair.rejected) == ("good", "bad")


def test_a_tree_forks_below_its_root_too() -> None:
    forked = node("and?", "prompter", node("yes", "assistant", rank=0), node("no", "assistant", rank=1))
    _, pair = rows({"message_tree_id": "t", "prompt": node("Hi?", "prompter", node("Hello.", "assistant", forked))})
    assert isinstance(pair, Pair)
    assert [m["content"] for m in pair.prompt] == ["Hi?", "Hello.", "and?"]


def test_deleted_replies_are_passed_over() -> None:
    tree = node("Hi?", "prompter", node("gone", "assistant", rank=0, deleted=True), node("Hello.", "assistant", rank=1))
    assert messages({"message_tree_id": "t", "prompt": tree})[-1] == ("assistant", "Hello.")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("text", "shape"),
        ({"foo": 1}, "shape"),
        ({"messages": []}, "empty"),
        ({"messages": None}, "empty"),
        ({"messages": "hello"}, "content_type"),
        ({"messages": [{"role": "system", "content": "s"}]}, "empty"),
        ({"messages": [{"role": "robot", "content": "x"}, ANSWER]}, "role"),
        ({"messages": [{"role": ["user"], "content": "x"}, ANSWER]}, "role"),
        ({"messages": [{"role": "user", "content": 7}, ANSWER]}, "content_type"),
        ({"messages": [{"role": "user"}, ANSWER]}, "content_type"),
        ({"messages": [{"role": "user", "content": " "}, ANSWER]}, "empty"),
        ({"messages": [USER, USER, ANSWER]}, "alternation"),
        ({"messages": [ANSWER, USER]}, "alternation"),
        ({"messages": [USER, ANSWER, USER]}, "no_answer"),
        ({"messages": [USER, {"role": "assistant", "content": "a\x00b"}]}, "encoding"),
        ({"messages": [USER, {"role": "assistant", "content": "a\ufffdb"}]}, "encoding"),
        ({"conversations": [{"from": "cat", "value": "x"}]}, "role"),
        ({"conversations": [{"from": "human", "value": ["x"]}, {"from": "gpt", "value": "y"}]}, "content_type"),
        ({"instruction": "x", "output": ""}, "no_answer"),
        ({"prompt": "x", "completion": None}, "no_answer"),
        ({"prompt": "x", "chosen": "same", "rejected": "same "}, "identical"),
        ({"prompt": "x", "chosen": "one", "rejected": None}, "no_answer"),
        ({"chosen": "one", "rejected": "two"}, "shape"),
        ({"chosen": HH + "one", "rejected": "\n\nHuman: other\n\nAssistant: two"}, "shape"),
        ({"prompt": "other?", "chosen": [PEN, ANSWER], "rejected": "two"}, "shape"),
        ({"prompt": "a pen?", "chosen": [PEN, ANSWER], "rejected": [USER, ANSWER]}, "shape"),
        ({"prompt": "x", "completion": "y", "label": False}, "disliked"),
        ({"instruction": "x", "output": "y", "history": [["alone"]]}, "shape"),
        ({"messages": [USER, ANSWER], "system": {"os": "linux"}}, "content_type"),
        ({"message_tree_id": "t", "prompt": node("Hi?", "prompter")}, "no_answer"),
    ],
)
def test_a_misfit_has_the_named_reason(record: Any, reason: str) -> None:
    with pytest.raises(Misfit) as caught:
        rows(record)
    assert caught.value.reason == reason
    assert reason in REASONS


def test_a_format_that_is_asked_for_is_used_whatever_the_keys() -> None:
    assert shape_of({"prompt": "x", "chosen": "a", "rejected": "b", "messages": []}) == "preference"
    with pytest.raises(Misfit):
        rows({"prompt": "x", "completion": "y"}, "messages")


WORDS = "messages conversations role content from value instruction output prompt chosen rejected text replies rank"
WORDS += " system history label question"
KEYS = st.sampled_from(WORDS.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8) | st.sampled_from(["user", "gpt"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


TREES = st.recursive(
    st.dictionaries(KEYS, JSON, max_size=4),
    lambda inner: st.fixed_dictionaries(
        {"text": st.just("x") | JSON, "role": st.sampled_from(["prompter", "assistant", "cat"])},
        optional={"replies": st.lists(inner, max_size=3) | JSON, "rank": st.integers(0, 3) | JSON},
    ),
    max_leaves=8,
)
RECORDS = st.dictionaries(KEYS, JSON, max_size=5) | st.fixed_dictionaries({"prompt": TREES})


@settings(deadline=None, max_examples=300)
@given(RECORDS, st.sampled_from(["auto", *SHAPES]))
def test_any_record_fits_or_is_a_misfit_and_nothing_else(record: dict[str, Any], format: str) -> None:
    with contextlib.suppress(Misfit):
        assert all(isinstance(row, Chat | Pair) for row in read_record(record, format))
