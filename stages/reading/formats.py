"""The shapes of records in the wild, each as a pure generator from one record to our rows.

A record that does not fit raises `Misfit` (`stages.reading.messages`) with one of the named reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stages.reading.messages import (
    Chat,
    Misfit,
    Pair,
    by_assistant,
    by_user,
    check_messages,
    decoded,
    instruction_of,
    led_by_system,
    listed,
    mapping_of,
    sender_of,
    unframed,
)
from stages.reading.preferences import from_preference
from stages.reading.trees import from_oasst

PROMPT_KEYS = ("prompt", "question", "input")
ANSWER_KEYS = ("completion", "response", "answer", "output")


def read_record(record: Any, format: str) -> Iterator[Chat | Pair]:
    """Yield the rows of one record; `format` is a key of `SHAPES`, or `auto` to tell it by the record's keys.

    Raises:
        Misfit: the record does not fit; the rows before it in the same record still count.
    """
    if not isinstance(record, Mapping):
        raise Misfit("shape", f"a record must be an object, not {type(record).__name__}")
    try:
        yield from SHAPES[shape_of(record) if format == "auto" else format](record)
    except RecursionError:
        raise Misfit("shape", "nested too deep") from None


def shape_of(record: Mapping[str, Any]) -> str:
    """Return the format that the keys of a record tell.

    Raises:
        Misfit: the keys are those of no known format.
    """
    if "chosen" in record and "rejected" in record:
        return "preference"
    if "messages" in record:
        return "messages"
    if "conversations" in record or "conversation" in record:
        return "sharegpt"
    if "instruction" in record:
        return "alpaca"
    if isinstance(record.get("prompt"), Mapping) or "message_tree_id" in record:
        return "oasst"
    if not record.keys().isdisjoint(PROMPT_KEYS) and not record.keys().isdisjoint(ANSWER_KEYS):
        return "prompt_completion"
    raise Misfit("shape", f"no known format has the keys {', '.join(sorted(map(str, record)))[:200]}")


def from_messages(record: Mapping[str, Any]) -> Iterator[Chat]:
    """`{"messages": [{"role", "content"}]}`, as OpenAI and TRL have it."""
    yield Chat(check_messages(led_by_system(record, listed(record.get("messages")))), record)


def from_sharegpt(record: Mapping[str, Any]) -> Iterator[Chat]:
    """`{"conversations": [{"from", "value"}]}`."""
    turns = listed(record.get("conversations", record.get("conversation")))
    renamed = [
        {
            "role": sender_of(mapping_of(turn).get("from", mapping_of(turn).get("role"))),
            "content": turn.get("value", turn.get("content")),
        }
        for turn in turns
    ]
    yield Chat(check_messages(led_by_system(record, renamed)), record)


def from_alpaca(record: Mapping[str, Any]) -> Iterator[Chat]:
    """`{"instruction", "input", "output"}`; Dolly's `context` and `response` are the same thing.

    A `history` of pairs of question and answer stands before them.
    """
    answer = _answer(record, ("output", "response"))
    turns = [*_history(record), by_user(instruction_of(record)), by_assistant(answer)]
    yield Chat(check_messages(led_by_system(record, turns)), record)


def from_prompt_completion(record: Mapping[str, Any]) -> Iterator[Chat]:
    """`{"prompt", "completion"}` or `{"prompt", "response"}`, each a text or messages; Alpaca's frame is taken away.

    Where a `label` says that the answer is bad, as in TRL's unpaired preferences, it is nothing to learn.
    """
    if record.get("label") is False:
        raise Misfit("disliked", "its label says that the answer is bad")
    answer, prompt = _answer(record, ANSWER_KEYS), decoded(_first(record, PROMPT_KEYS))
    asked = prompt if isinstance(prompt, list) else [by_user(unframed(prompt))]
    answered = answer if isinstance(answer, list) else [by_assistant(answer)]
    yield Chat(check_messages(led_by_system(record, [*asked, *answered])), record)


SHAPES: dict[str, Callable[[Mapping[str, Any]], Iterator[Chat | Pair]]] = {
    "messages": from_messages,
    "sharegpt": from_sharegpt,
    "alpaca": from_alpaca,
    "prompt_completion": from_prompt_completion,
    "preference": from_preference,
    "oasst": from_oasst,
}


def _first(record: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """Return the value of the first of the keys that a record has."""
    for key in keys:
        if key in record:
            return record[key]
    return None


def _answer(record: Mapping[str, Any], keys: Iterable[str]) -> Any:
    answer = _first(record, keys)
    if answer is None or answer == "":
        raise Misfit("no_answer", "there is no answer")
    return answer


def _history(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for turn in listed(record["history"]) if record.get("history") else ():
        if not isinstance(turn, list) or len(turn) != 2:
            raise Misfit("shape", "a turn of the history is no pair of question and answer")
        yield from (by_user(turn[0]), by_assistant(turn[1]))
