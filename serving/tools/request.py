"""What a request asks, and what it says of tools, checked beyond the form of its single fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from serving.history import Call, Message, Messages
from serving.messages import SentMessage
from serving.openai_api import ApiError, ChatRequest

Offered = dict[str, Any]
"""`tools`, and `tool_choice` and `parallel_tool_calls` where the request had them, as they go to the engine."""
MAX_CHARACTERS = 60_000
"""Of all definitions of tools together, as JSON."""
CHOICES = ("none", "auto", "required")
ALLOWED = "allowed_tools"
"""OpenAI's choice of some of the tools that a request defines."""
SYSTEM = ("system", "developer")
"""Roles whose messages stand before the conversation."""


def offered_of(request: ChatRequest) -> Offered | None:
    """Return what a request offers of tools, None where it offers none.

    Raises:
        ApiError: 400 for a choice without tools or of one that is not there, two of one name, too much of them.
    """
    options = {"tool_choice": request.tool_choice, "parallel_tool_calls": request.parallel_tool_calls}
    given = {name: value for name, value in options.items() if value is not None}
    if request.tools is None:
        for name in given:
            raise _bad(name, f"'{name}' is only allowed when 'tools' are specified")
        return None
    tools = [tool.model_dump(exclude_unset=True) for tool in request.tools]
    names = [tool.function.name for tool in request.tools]
    if twice := [name for name in names if names.count(name) > 1]:
        raise _bad("tools", f"two tools are named '{twice[0]}'")
    _refuse_unsendable(tools)
    if isinstance(request.tool_choice, dict) and request.tool_choice.get("type") == ALLOWED:
        return _narrowed(tools, given, _allowed(request.tool_choice, names))
    _refuse_choice(request.tool_choice, names)
    return {"tools": tools, **given}


def prompt_of(request: ChatRequest) -> tuple[Messages, str]:
    """Return the conversation that was sent, and what the client set before it.

    Raises:
        ApiError: 400 where there is none, calls and results do not stand together, or nobody is to be answered.
    """
    if not request.messages:
        raise _bad("messages", "messages: must not be empty")
    own = [m.content for m in request.messages if m.role in SYSTEM and m.content]
    prompt = [message_of(m) for m in request.messages if m.role not in SYSTEM]
    if not (request.conversation_id and are_results(prompt)):  # else memory has the calls that they answer
        refuse_misplaced(prompt)
    if not prompt or prompt[-1]["role"] not in ("user", "tool"):
        raise _bad("messages", "messages: the last message must be the user's, or a tool's")
    return prompt, "\n\n".join(own)


def defined_by(request: ChatRequest) -> str:
    """Return what a request defines in words: names and descriptions of its tools, and of the answer's form."""
    form = request.response_format and request.response_format.json_schema
    defined = [*(tool.function.model_dump() for tool in request.tools or ()), *([form.model_dump()] if form else ())]
    return "\n".join(_words(defined))


def _words(value: Any) -> Iterator[str]:
    """Yield all text in a value, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, held in value.items():
            yield from (name, *_words(held))
    elif isinstance(value, list):
        for held in value:
            yield from _words(held)


def message_of(sent: SentMessage) -> Message:
    """Return a message as it goes on from here."""
    message: Message = {"role": sent.role, "content": sent.content or ""}
    if sent.tool_calls:
        calls: list[Call] = [
            {"id": c.id, "type": c.type, "function": {"name": c.function.name, "arguments": c.function.arguments}}
            for c in sent.tool_calls
        ]
        message["tool_calls"] = calls
    if sent.tool_call_id is not None:
        message["tool_call_id"] = sent.tool_call_id
    return message


def uses_tools(messages: Messages) -> bool:
    """Tell whether a conversation holds calls or their results."""
    return any(message["role"] == "tool" or "tool_calls" in message for message in messages)


def are_results(messages: Messages) -> bool:
    """Tell whether messages are results of calls alone: they go on from calls that were sent before."""
    return all(message["role"] == "tool" for message in messages)


def refuse_misplaced(messages: Messages) -> None:
    """Raise `ApiError`, 400, unless every call is answered once, right behind it, and nothing else is."""
    pending: list[str] = []
    called: list[str] = []
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            answered = message["tool_call_id"]
            if answered not in pending:
                raise _unanswering(place, answered, is_repeated=answered in called)
            pending.remove(answered)
            continue
        if pending:
            break
        called = [call["id"] for call in message.get("tool_calls", [])]
        pending = [*called]
        if len(set(called)) < len(called):
            raise _bad(f"messages.{place}", f"messages.{place}: two of its 'tool_calls' have the same id")
    if pending:
        wanted = ", ".join(pending)
        raise _bad("messages", f"messages: 'tool_calls' must be followed by messages with role 'tool' that answer each "
                   f"'tool_call_id'; unanswered: {wanted}")  # fmt: skip


def _unanswering(place: int, answered: str, is_repeated: bool) -> ApiError:
    what = "is answered twice" if is_repeated else "is no call of the assistant's message before it"
    message = f"messages.{place}: a message with role 'tool' must answer a preceding one with 'tool_calls'"
    return _bad(f"messages.{place}.tool_call_id", f"{message}; '{answered}' {what}")


def _refuse_choice(choice: str | dict[str, Any] | None, names: Sequence[str]) -> None:
    if choice is None or choice in CHOICES:
        return
    name = _named(choice)
    if name is None:
        form = '{"type": "function", "function": {"name": …}}'
        raise _bad("tool_choice", f"tool_choice: must be one of {', '.join(CHOICES)}, or {form}")
    if name not in names:
        raise _bad("tool_choice", f"tool_choice: '{name}' is none of the tools: {', '.join(names)}")


def _allowed(choice: dict[str, Any], names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the mode of a choice of some of the tools, and their names."""
    told = choice.get(ALLOWED)
    some = told.get("tools") if isinstance(told, dict) else None
    if not (set(choice) == {"type", ALLOWED} and isinstance(told, dict) and set(told) == {"mode", "tools"}
            and told["mode"] in ("auto", "required") and isinstance(some, list) and some):  # fmt: skip
        form = '{"type": "allowed_tools", "allowed_tools": {"mode": "auto" or "required", "tools": [{"type": …}, …]}}'
        raise _bad("tool_choice", f"tool_choice: must be {form}")
    for one in some:
        _refuse_choice(one if isinstance(one, dict) else {}, names)
    return told["mode"], [str(_named(one)) for one in some]


def _narrowed(tools: list[dict[str, Any]], given: Offered, allowed: tuple[str, list[str]]) -> Offered:
    """Return the allowed tools alone: engines know no such choice, and a tool that is not offered is not called."""
    mode, names = allowed
    return {"tools": [tool for tool in tools if tool["function"]["name"] in names], **given, "tool_choice": mode}


def _named(choice: str | dict[str, Any]) -> str | None:
    if not isinstance(choice, dict) or set(choice) != {"type", "function"} or choice["type"] != "function":
        return None
    function = choice["function"]
    return function["name"] if isinstance(function, dict) and [*function] == ["name"] else None


def _refuse_unsendable(tools: list[dict[str, Any]]) -> None:
    try:
        size = len(json.dumps(tools, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:
        raise _bad("tools", f"tools: {error}") from None
    if size > MAX_CHARACTERS:
        raise _bad("tools", f"tools: their definitions take {size:,} bytes, more than {MAX_CHARACTERS:,}")


def _bad(param: str, message: str) -> ApiError:
    return ApiError(400, message, "invalid_value", param)
