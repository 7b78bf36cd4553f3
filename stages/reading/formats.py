"""The shapes of conversations and pairs in the wild, each as a pure generator from one record to our rows.

A record that does not fit raises `Misfit` with one of the named reasons; nothing is repaired on the way but the
names of roles and the frame of Alpaca's prompt template.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    "no_consent",
)
"""Why a row is turned away; `identical` is a pair whose two replies are the same."""

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
HH_TURN = re.compile(r"\n\n(Human|Assistant): ?")
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
CONTROLS = bytes([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
"""Those of the unprintable characters that are one byte of UTF-8."""
PROMPT_KEYS = ("prompt", "question", "input")
ANSWER_KEYS = ("completion", "response", "answer", "output")


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


def check_messages(messages: Any) -> Messages:
    """Return messages as `role` and `content` alone, once they are fit to train on.

    An optional system message, then user and assistant in turn, ending on the assistant; all of it text.

    Raises:
        Misfit: they are not.
    """
    clean = [_message(item) for item in _listed(messages)]
    turns = clean[1:] if clean[0]["role"] == "system" else clean
    if not turns:
        raise Misfit("empty", "no message but the system's")
    for place, (message, role) in enumerate(zip(turns, itertools.cycle(TURNS))):
        if message["role"] != role:
            raise Misfit("alternation", f"message {place + 1} is the {message['role']}'s, out of turn")
    if len(turns) % 2:
        raise Misfit("no_answer", "the last message is the user's")
    return clean


def from_messages(record: Mapping[str, Any]) -> Iterator[Chat]:
    """`{"messages": [{"role", "content"}]}`, as OpenAI and TRL have it."""
    yield Chat(check_messages(record.get("messages")), record)


def from_sharegpt(record: Mapping[str, Any]) -> Iterator[Chat]:
    """`{"conversations": [{"from", "value"}]}`."""
    turns = _listed(record.get("conversations", record.get("conversation")))
    renamed = [
        {
            "role": _sender(_mapping(turn).get("from", _mapping(turn).get("role"))),
            "content": turn.get("value", turn.get("content")),
        }
        for turn in turns
    ]
    yield Chat(check_messages(renamed), record)


def from_alpaca(record: Mapping[str, Any]) -> Iterator[Chat]:
    """`{"instruction", "input", "output"}`; Dolly's `context` and `response` are the same thing."""
    prompt = record.get("instruction")
    if more := record.get("input") or record.get("context"):
        prompt = f"{_text(prompt, 'instruction')}\n\n{_text(more, 'input')}"
    answer = _answer(record, ("output", "response"))
    yield Chat(check_messages([*_system(record), _user(prompt), _assistant(answer)]), record)


def from_prompt_completion(record: Mapping[str, Any]) -> Iterator[Chat]:
    """`{"prompt", "completion"}` or `{"prompt", "response"}`; a prompt in Alpaca's frame is taken out of it."""
    prompt = _first(record, PROMPT_KEYS)
    answer = _answer(record, ANSWER_KEYS)
    turns = _decoded(prompt)
    if isinstance(turns, list):
        yield Chat(check_messages([*turns, _assistant(answer)]), record)
        return
    yield Chat(check_messages([*_system(record), _user(_unframed(prompt)), _assistant(answer)]), record)


def from_preference(record: Mapping[str, Any]) -> Iterator[Pair]:
    """`{"prompt", "chosen", "rejected"}`, or whole transcripts: lists of messages, or text in hh-rlhf's way."""
    chosen, rejected = (_transcript(record.get(side), side) for side in ("chosen", "rejected"))
    if record.get("prompt") is not None:
        prompt = _prompt(record["prompt"])
        good, bad = chosen[-1:], rejected[-1:]
    else:
        prompt, good, bad = _fork(chosen, rejected)
    if [m["role"] for m in good + bad] != ["assistant", "assistant"]:
        raise Misfit("shape", "the two sides must share a prompt and differ in one reply")
    yield _pair(prompt, good[0]["content"], bad[0]["content"], record)


def from_oasst(record: Mapping[str, Any]) -> Iterator[Chat | Pair]:
    """A tree `{"prompt": {"text", "role", "replies"}}`: its best-ranked path, and rank 0 against 1 at every fork."""
    root = _mapping(record.get("prompt"))
    path = [*_best_path(root)]
    while path and path[-1].get("role") != "assistant":
        path.pop()
    if not path:
        raise Misfit("no_answer", "no reply in the tree")
    yield Chat(check_messages([_node(item) for item in path]), {**record, **_facts(root)})
    yield from _forks(root, [], record)


SHAPES: dict[str, Callable[[Mapping[str, Any]], Iterator[Chat | Pair]]] = {
    "messages": from_messages,
    "sharegpt": from_sharegpt,
    "alpaca": from_alpaca,
    "prompt_completion": from_prompt_completion,
    "preference": from_preference,
    "oasst": from_oasst,
}


def _best_path(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    here: Mapping[str, Any] | None = node
    while here is not None:
        yield here
        here = next(iter(_replies(here)), None)


def _forks(node: Mapping[str, Any], before: Messages, record: Mapping[str, Any]) -> Iterator[Pair]:
    path = [*before, _node(node)]
    replies = _replies(node)
    ranked = [(rank, r) for r in replies if r.get("role") == "assistant" and (rank := _rank(r)) is not None]
    if len(ranked) > 1 and ranked[0][0] < ranked[1][0] and path[-1]["role"] == "user":
        good, bad = (_text(reply.get("text"), "reply") for _, reply in ranked[:2])
        if good != bad:
            yield _pair(_prompt(path), good, bad, {**record, **_facts(node)})
    for reply in replies:
        yield from _forks(reply, path, record)


def _replies(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The replies that stand, best rank first; unranked ones come last, in their order."""
    replies = node.get("replies") or []
    if not isinstance(replies, list):
        raise Misfit("content_type", f"replies are {type(replies).__name__}, not a list")
    standing = [r for r in map(_mapping, replies) if not r.get("deleted") and r.get("review_result") is not False]
    return sorted(standing, key=lambda r: math.inf if (rank := _rank(r)) is None else rank)


def _rank(node: Mapping[str, Any]) -> float | None:
    rank = node.get("rank")
    return rank if isinstance(rank, int | float) and math.isfinite(rank) else None


def _node(node: Mapping[str, Any]) -> dict[str, str]:
    return {"role": _sender(node.get("role")), "content": _text(node.get("text"), "text")}


def _facts(node: Mapping[str, Any]) -> dict[str, Any]:
    """What an OASST message says of itself, in our names."""
    facts = {"lang": node.get("lang"), "created_at": node.get("created_date"), "user": node.get("user_id")}
    return {name: value for name, value in facts.items() if value is not None}


def _pair(prompt: Messages, chosen: str, rejected: str, record: Mapping[str, Any]) -> Pair:
    if chosen.strip() == rejected.strip():
        raise Misfit("identical", "chosen and rejected are the same")
    return Pair(prompt, chosen, rejected, record)


def _prompt(prompt: Any) -> Messages:
    """Return a prompt as checked messages that end on the user's turn."""
    turns = _decoded(prompt)
    if isinstance(turns, str):
        parsed = _hh(turns)
        turns = parsed or [_user(_unframed(_text(turns, "prompt")))]
    if isinstance(turns, list) and turns and _mapping(turns[-1]).get("role") == "assistant":
        raise Misfit("alternation", "the prompt ends on an answer")
    return check_messages([*_listed(turns), _assistant("-")])[:-1]


def _transcript(side: Any, name: str) -> Messages:
    """Return one side of a pair as messages, the reply last; a bare text is the reply alone."""
    turns = _decoded(side)
    if isinstance(turns, str):
        return _hh(turns) or [_assistant(_text(turns, name))]
    if turns is None:
        raise Misfit("no_answer", f"{name} is missing")
    return [_message(item) for item in _listed(turns)]


def _fork(chosen: Messages, rejected: Messages) -> tuple[Messages, Messages, Messages]:
    if chosen[:-1] != rejected[:-1]:
        raise Misfit("shape", "the two transcripts differ before the last reply")
    if len(chosen) < 2:
        raise Misfit("shape", "a pair without a prompt")
    return _prompt(chosen[:-1]), chosen[-1:], rejected[-1:]


def _hh(text: str) -> Messages:
    """Return the turns of a text such as `\\n\\nHuman: …\\n\\nAssistant: …`, none if it is no such text."""
    parts = HH_TURN.split(text if text.startswith("\n\n") else f"\n\n{text}")
    if len(parts) < 3 or parts[0].strip():
        return []
    turns = zip(parts[1::2], parts[2::2], strict=True)
    return [_message({"role": _sender(who.lower()), "content": said.strip()}) for who, said in turns]


def _unframed(prompt: Any) -> Any:
    """Return what stands in Alpaca's frame, and anything else as it is."""
    if not isinstance(prompt, str) or "### Response:" not in prompt or (match := ALPACA.search(prompt)) is None:
        return prompt
    return "\n\n".join(part.strip() for part in match.groups() if part)


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


def _message(item: Any) -> dict[str, str]:
    message = _mapping(item)
    role = message.get("role")
    if role not in ROLES:
        raise Misfit("role", f"role {role!r} is none of {', '.join(ROLES)}")
    return {"role": role, "content": _text(message.get("content"), "content")}


def _text(value: Any, name: str) -> str:
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


def _listed(value: Any) -> list[Any]:
    value = _decoded(value)
    if value is None or value == []:
        raise Misfit("empty", "no messages")
    if not isinstance(value, list):
        raise Misfit("content_type", f"messages are {type(value).__name__}, not a list")
    return value


def _decoded(value: Any) -> Any:
    """Return the list that a CSV cell holds as JSON text, anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise Misfit("content_type", f"a message is {type(value).__name__}, not an object")
    return value


def _sender(name: Any) -> str:
    if not isinstance(name, str) or name.lower() not in SENDERS:
        raise Misfit("role", f"sender {name!r} is none of {', '.join(SENDERS)}")
    return SENDERS[name.lower()]


def _system(record: Mapping[str, Any]) -> Messages:
    system = record.get("system")
    return [{"role": "system", "content": _text(system, "system")}] if system else []


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}
