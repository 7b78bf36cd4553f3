"""The arguments of calls, JSON text: read as whoever acts on them will, and redacted so that they stay JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from serving.history import Call, Message
from thumbwheel.pii.redact import PLACEHOLDER

ESCAPED = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([^u]))", re.DOTALL
)
CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
NESTED = 8
"""Escapes within escapes that are resolved; each costs a reading of the whole text, and nobody nests more of them but
to be slow to read."""
UNQUOTED = re.compile(rf"(?<=[\[:,])(\s*)({PLACEHOLDER.pattern})(?=\s*[\]}},])")
"""A placeholder that took the place of a number."""


def readings(arguments: str) -> list[str]:
    """Return a JSON text as written, and with its escapes resolved, again and again until none is left.

    What is hidden by escapes, or in JSON within JSON, stands plain in one of them, in JSON that broke off, too; up to
    `NESTED` deep.
    """
    texts = [arguments]
    while len(texts) <= NESTED and (plain := ESCAPED.sub(_resolved, texts[-1])) != texts[-1]:
        texts.append(plain)
    return texts


def spoken(calls: Iterable[Call]) -> list[str]:
    """Return calls as text, name and arguments of each."""
    return [f"{call['function']['name']} {call['function']['arguments']}" for call in calls]


def text_of(message: Message) -> str:
    """Return all that a message says, its calls included."""
    return "\n".join(filter(None, [message["content"], *spoken(message.get("tool_calls", []))]))


def canonical(arguments: str) -> str:
    """Return arguments with no escape that JSON does not need, so that what they hold can be found."""
    try:
        return json.dumps(json.loads(arguments), ensure_ascii=False)
    except (ValueError, RecursionError):
        return arguments


def still_json(redacted: str) -> str:
    """Return redacted arguments as JSON: a placeholder that stands for a number becomes a string."""
    quoted = UNQUOTED.sub(r'\1"\2"', redacted)
    try:
        json.loads(quoted)
    except (ValueError, RecursionError):
        return json.dumps({"redacted": redacted}, ensure_ascii=False)
    return quoted


def _resolved(match: re.Match[str]) -> str:
    high, low, plain, other = match.groups()
    if high:
        return bytes.fromhex(high + low).decode("utf-16-be")
    if plain:
        return chr(int(plain, 16)) if not 0xD800 <= int(plain, 16) < 0xE000 else "�"
    return CONTROLS.get(other, other)
