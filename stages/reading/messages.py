"""What a conversation of ours is, and the checks that every message of a record must pass, whatever its shape.

What does not pass raises `Misfit` with one of the named reasons; nothing is repaired on the way but the names of roles
and the frame of Alpaca's prompt template.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from thumbwheel.records import ROLES

REASONS = (
    "json",
    "encoding",
    "shape",
    "role",
    "content_type",
    "empty",
    "alternation",
    "no_answer",
    "too_long",
    "identical",
    "disliked",
    "no_consent",
)
"""Why a row is turned away; `identical` is a pair whose two replies are the same, `disliked` a reply labelled bad."""

Messages = list[dict[str, str]]

TURNS = ("user", "assistant")
"""Whose turns follow each other, behind the system's."""
SENDERS = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "system": "system",
}
"""What ShareGPT and OASST files call the roles."""

ALPACA = re.compile(r"### Instruction:\n(.*?)(?:\n\n### Input:\n(.*?))?\n\n### Response:\s*\Z", re.DOTALL)
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
CONTROLS = bytes([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
"""Those of the unprintable characters that are one byte of UTF-8."""


class Misfit(ValueError):
    """A record that is no row of ours: `reason` is one of `REASONS`, the text says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Chat(NamedTuple):
    """One conversation as read: checked messages and the record that they came from, for what else it says."""

    messages: Messages
    record: Mapping[str, Any]


class Pair(NamedTuple):
    """One preference as read: a prompt that ends on the user's turn, and two replies."""

    prompt: Messages
    chosen: str
    rejected: str
    record: Mapping[str, Any]


def check_messages(messages: Any) -> Messages:
    """Return messages as `role` and `content` alone, once they are fit to train on.

    An optional system message, then user and assistant in turn, ending on the assistant; all of it text.

    Raises:
        Misfit: they are not.
    """
    clean = [message_of(item) for item in listed(messages)]
    turns = clean[1:] if clean[0]["role"] == "system" else clean
    if not turns:
        raise Misfit("empty", "no message but the system's")
    for place, (message, role) in enumerate(zip(turns, itertools.cycle(TURNS))):
        if message["role"] != role:
            raise Misfit("alternation", f"message {place + 1} is the {message['role']}'s, out of turn")
    if len(turns) % 2:
        raise Misfit("no_answer", "the last message is the user's")
    return clean


def message_of(item: Any) -> dict[str, str]:
    """Return a message as role and content alone, once both are fit.

    Raises:
        Misfit: they are not; and so do all functions below, but `decoded` and `unframed`.
    """
    message = mapping_of(item)
    role = message.get("role")
    if role not in ROLES:
        raise Misfit("role", f"role {role!r} is none of {', '.join(ROLES)}")
    return {"role": role, "content": text_of(message.get("content"), "content")}


def text_of(value: Any, name: str) -> str:
    """Return a text that says something and holds nothing unprintable; `name` says what it is."""
    if not isinstance(value, str):
        raise Misfit("content_type", f"{name} is {'missing' if value is None else type(value).__name__}, not text")
    if not value or value.isspace():
        raise Misfit("empty", f"{name} is empty")
    if _may_be_unprintable(value) and (match := UNPRINTABLE.search(value)):
        raise Misfit("encoding", f"{name} holds the character U+{ord(match.group()):04X}")
    return value


def _may_be_unprintable(text: str) -> bool:
    """Tell by the bytes whether `UNPRINTABLE` finds anything, at a tenth of its cost."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return True
    return len(raw.translate(None, CONTROLS)) != len(raw) or b"\xef\xbf\xbd" in raw


def listed(value: Any) -> list[Any]:
    """Return a list of messages that is not empty."""
    value = decoded(value)
    if value is None or value == []:
        raise Misfit("empty", "no messages")
    if not isinstance(value, list):
        raise Misfit("content_type", f"messages are {type(value).__name__}, not a list")
    return value


def decoded(value: Any) -> Any:
    """Return the list of messages that a CSV cell holds as JSON text, anything else as it is: text may be JSON, too."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        if all(isinstance(item, dict) and not item.keys().isdisjoint(("role", "from")) for item in found):
            return found
    return value


def mapping_of(value: Any) -> Mapping[str, Any]:
    """Return what is an object."""
    if type(value) is not dict and not isinstance(value, Mapping):
        raise Misfit("content_type", f"a message is {type(value).__name__}, not an object")
    return value


def sender_of(name: Any) -> str:
    """Return the role of a sender by our name."""
    if not isinstance(name, str) or name.lower() not in SENDERS:
        raise Misfit("role", f"sender {name!r} is none of {', '.join(SENDERS)}")
    return SENDERS[name.lower()]


def led_by_system(record: Mapping[str, Any], turns: list[Any]) -> list[Any]:
    """Return turns behind the system message that stands beside them in a record, if one does."""
    first = turns[0] if turns else None
    if not (system := record.get("system")) or (isinstance(first, Mapping) and first.get("role") == "system"):
        return turns
    return [{"role": "system", "content": text_of(system, "system")}, *turns]


def instruction_of(record: Mapping[str, Any]) -> Any:
    """Return what Alpaca's instruction and its input, or Dolly's context, ask together."""
    prompt = record.get("instruction")
    if more := record.get("input") or record.get("context"):
        return f"{text_of(prompt, 'instruction')}\n\n{text_of(more, 'input')}"
    return prompt


def unframed(prompt: Any) -> Any:
    """Return what stands in Alpaca's frame, and anything else as it is."""
    if not isinstance(prompt, str) or "### Response:" not in prompt or (match := ALPACA.search(prompt)) is None:
        return prompt
    return "\n\n".join(part.strip() for part in match.groups() if part)


def by_user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def by_assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}
