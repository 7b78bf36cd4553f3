"""A chat whose engine calls tools, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.options import Options
from tests.serving.conftest import OPTIONS, Chat, chatting

CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
USER = {"role": "user", "content": "What is the weather in Paris?"}
ARGUMENTS = '{"city": "Paris"}'


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


WEATHER = tool("weather", description="Now.", parameters=SCHEMA)
CLOCK = tool("clock")


def tooling(**sections: Any) -> Options:
    """Return options whose engine calls tools, with keys of other sections changed."""
    changed = OPTIONS.model_dump()
    changed["models"]["engine"]["tools"] = {"parser": "hermes"}
    for name, section in sections.items():
        changed[name].update(section)
    return Options.model_validate(changed)


def calling(*ids: str, name: str = "weather", arguments: str = ARGUMENTS) -> dict[str, Any]:
    """Return an assistant's message that calls a tool, once for each id."""
    calls = [{"id": id, "type": "function", "function": {"name": name, "arguments": arguments}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(id: str, content: str = "18 degrees") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def post(chat: Chat, messages: list[dict[str, Any]], **more: Any) -> Any:
    return chat.http.post(CHAT, json={"messages": messages, **more})


@pytest.fixture
def tools_chat(tmp_path: Path) -> Iterator[Chat]:
    with chatting(tmp_path, tooling()) as chat:
        yield chat
