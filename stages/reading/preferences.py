"""The shapes of preferences in the wild: a prompt and two replies, or two transcripts that differ in the last."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stages.reading.messages import (
    Messages,
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
    message_of,
    sender_of,
    text_of,
    unframed,
)

HH_TURN = re.compile(r"\n\n(Human|Assistant): ?")


def from_preference(record: Mapping[str, Any]) -> Iterator[Pair]:
    """`{"prompt", "chosen", "rejected"}`, or whole transcripts: lists of messages, or text in hh-rlhf's way.

    A prompt may be called `question` or `instruction`, too.
    """
    (*before, good), (*others, bad) = (_transcript(record.get(side), side) for side in ("chosen", "rejected"))
    if before and others and before != others:
        raise Misfit("shape", "the two transcripts differ before the last reply")
    if [good["role"], bad["role"]] != ["assistant", "assistant"]:
        raise Misfit("shape", "the two sides must share a prompt and differ in one reply")
    prompt = _whole_prompt(_asked(record), before or others)
    yield pair_of(led_by_system(record, prompt), good["content"], bad["content"], record)


def _asked(record: Mapping[str, Any]) -> Any:
    """Return what is asked beside the replies; None where only the transcripts say it."""
    prompt = record.get("prompt")
    prompt = record.get("question") if prompt is None else prompt
    return instruction_of(record) if prompt is None else prompt


def _whole_prompt(asked: Any, before: Messages) -> Messages:
    """Return the prompt of a pair: of prompt and transcript the longer one, for either may leave out what was first."""
    if asked is None and not before:
        raise Misfit("shape", "a pair without a prompt")
    prompt = prompt_of(before if asked is None else asked)
    shared = min(len(prompt), len(before))
    if _words(prompt[len(prompt) - shared :]) != _words(before[len(before) - shared :]):
        raise Misfit("shape", "the transcripts do not go on from the prompt")
    return prompt if len(prompt) >= len(before) else prompt_of(before)


def _words(messages: Messages) -> list[tuple[str, list[str]]]:
    return [(message["role"], message["content"].split()) for message in messages]


def pair_of(prompt: Messages, chosen: str, rejected: str, record: Mapping[str, Any]) -> Pair:
    """Return a pair, unless both its replies say the same."""
    if chosen.strip() == rejected.strip():
        raise Misfit("identical", "chosen and rejected are the same")
    return Pair(prompt, chosen, rejected, record)


def prompt_of(prompt: Any) -> Messages:
    """Return a prompt as checked messages that end on the user's turn."""
    turns = decoded(prompt)
    if isinstance(turns, str):
        parsed = _hh(turns)
        turns = parsed or [by_user(unframed(text_of(turns, "prompt")))]
    if isinstance(turns, list) and turns and mapping_of(turns[-1]).get("role") == "assistant":
        raise Misfit("alternation", "the prompt ends on an answer")
    return check_messages([*listed(turns), by_assistant("-")])[:-1]


def _transcript(side: Any, name: str) -> Messages:
    """Return one side of a pair as messages, the reply last; a bare text is the reply alone."""
    turns = decoded(side)
    if isinstance(turns, str):
        return _hh(turns) or [by_assistant(text_of(turns, name))]
    if turns is None:
        raise Misfit("no_answer", f"{name} is missing")
    return [message_of(item) for item in listed(turns)]


def _hh(text: str) -> Messages:
    """Return the turns of a text such as `\\n\\nHuman: …\\n\\nAssistant: …`, none if it is no such text."""
    parts = HH_TURN.split(text if text.startswith("\n\n") else f"\n\n{text}")
    if len(parts) < 3 or parts[0].strip():
        return []
    turns = zip(parts[1::2], parts[2::2], strict=True)
    return [message_of({"role": sender_of(who.lower()), "content": said.strip()}) for who, said in turns]
