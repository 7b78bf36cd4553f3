"""The plain record, told at a glance: of the common shapes, text through and through, and with nothing to mend.

Most records are. What is not plain, or not surely so, is left to `stages.reading.formats`, which names what is wrong;
so nothing here turns a record away, and what is taken here is what would have been taken there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from stages.reading.formats import ANSWER_KEYS, PROMPT_KEYS, shape_of
from stages.reading.identity import MARK, MARKED
from stages.reading.mend import suspicious
from stages.reading.messages import SENDERS, TURNS, Messages, Misfit
from thumbwheel.records import fold

NOTHING: Mapping[str, Any] = {}
REPLACEMENT = "\ufffd"
TOLD = {"licence", "license", "lang", "language", "topic", "category", "consent"}
TOLD |= {"user", "user_id", "created_at", "created_date", "timestamp"}
"""Keys under which a record says more of itself than its messages."""


class Plain(NamedTuple):
    """A conversation, its contents as `thumbwheel.records.fold` makes them, its record, empty if it says no more."""

    messages: Messages
    folded: list[bytes]
    record: Mapping[str, Any]


def plain_chat(record: Any, format: str) -> Plain | None:
    """Return the conversation of a plain record, None of any other; `format` as `formats.read_record` takes it."""
    if type(record) is not dict:
        return None
    reader, tells_more = reader_of(tuple(record), format)
    if reader is None or (messages := reader(record)) is None:
        return None
    folded = []
    for message in messages:
        text = message["content"]
        if not text or text.isspace() or not (text.isascii() or _is_sound(text)):
            return None
        made = fold(text, MARKED)
        if MARK in made:
            return None
        folded.append(made)
    return Plain(messages, folded, record if tells_more else NOTHING)


def _is_sound(text: str) -> bool:
    """Tell whether a text beyond ASCII is whole, and can hold no mojibake."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return REPLACEMENT not in text and not suspicious(text)


Reader = Callable[[Mapping[str, Any]], Messages | None]


@lru_cache(1024)
def reader_of(keys: tuple[Any, ...], format: str) -> tuple[Reader | None, bool]:
    """Return what reads the messages of records with these keys, if any may be plain, and whether they tell more."""
    return _reader_of(keys, format), not TOLD.isdisjoint(keys)


def _reader_of(keys: tuple[Any, ...], format: str) -> Reader | None:
    try:
        shape = shape_of(dict.fromkeys(keys)) if format == "auto" else format
    except Misfit:
        return None
    if "system" in keys:
        return None
    if shape == "messages":
        return _listed("messages", "role", "content", {role: role for role in ("system", *TURNS)})
    if shape == "sharegpt":
        return _listed("conversations" if "conversations" in keys else "conversation", "from", "value", SENDERS)
    if shape == "prompt_completion" and "label" not in keys:
        return _turn(_first(keys, PROMPT_KEYS), _first(keys, ANSWER_KEYS))
    if shape == "alpaca":
        more = ("input", "context", "history")
        return _turn(_first(keys, ("instruction",)), _first(keys, ("output", "response")), more)
    return None


def _first(keys: Sequence[Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in keys), None)


def _turn(asked: str | None, answered: str | None, more: Sequence[str] = ()) -> Reader | None:
    """Return what reads one turn that stands under two keys; it is not plain where something stands under `more`."""
    if asked is None or answered is None:
        return None

    def read(record: Mapping[str, Any]) -> Messages | None:
        prompt, answer = record[asked], record[answered]
        if type(prompt) is not str or type(answer) is not str or _is_framed(prompt) or any(map(record.get, more)):
            return None
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]

    return read


def _is_framed(prompt: str) -> bool:
    """Tell whether a prompt may be more than it says: a list as text, or Alpaca's frame."""
    return "### Response:" in prompt or prompt.lstrip()[:1] == "["


def _listed(name: str, sender: str, content: str, senders: Mapping[str, str]) -> Reader:
    """Return what reads turns from the list under `name`."""

    def read(record: Mapping[str, Any]) -> Messages | None:
        turns = record.get(name)
        if type(turns) is not list or not {dict}.issuperset(map(type, turns)):
            return None
        roles, texts = [turn.get(sender) for turn in turns], [turn.get(content) for turn in turns]
        if not {str}.issuperset(map(type, chain(roles, texts))):
            return None
        named = [senders.get(role, "") for role in roles]
        if not in_turn(tuple(named)):
            return None
        return [{"role": role, "content": text} for role, text in zip(named, texts, strict=True)]

    return read


@lru_cache(256)
def in_turn(roles: tuple[str, ...]) -> bool:
    """Tell whether roles are the user's and the assistant's in turn, a system's perhaps before, and end on a reply."""
    turns = roles[1:] if roles[:1] == ("system",) else roles
    return len(turns) > 0 and len(turns) % 2 == 0 and turns == TURNS * (len(turns) // 2)
