"""Messages, calls and tools as a client may send them, in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_CHARACTERS = 60_000
"""Of one message; the model's own window is smaller and is enforced in tokens by the engine."""
MAX_TOOLS = 128
"""Tools of a request, and calls of a message, as OpenAI has it."""
NAME = r"^[a-zA-Z0-9_-]{1,64}$"
PARTS = ("text", "refusal")
"""Kinds of a message's parts that are text; each holds it in a field of its own name."""


class Request(BaseModel):
    """Base of request bodies: an unknown field is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SentFunction(Request):
    name: str = Field(pattern=NAME)
    arguments: str = Field(max_length=MAX_CHARACTERS)
    parsed_arguments: Any = None
    """OpenAI's client adds it to what it streamed."""

    @field_validator("arguments")
    @classmethod
    def _is_json(cls, value: str) -> str:
        """Refuse what engines cannot read, half a surrogate pair behind an escape included.

        What a weak model writes need be no object, and may come back.
        """
        try:
            json.dumps(json.loads(value or "{}"), ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise ValueError("must be JSON, as text") from None
        return value or "{}"


class SentCall(Request):
    id: str = Field(min_length=1, max_length=100)
    type: Literal["function"] = "function"
    function: SentFunction
    index: int | None = None


class SentMessage(Request):
    """One message; fields of OpenAI's answers that say nothing to a model may come back with it.

    `developer` is OpenAI's newer name for `system`.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = Field(None, max_length=MAX_CHARACTERS)
    name: str | None = None
    tool_calls: list[SentCall] | None = Field(None, min_length=1, max_length=MAX_TOOLS)
    tool_call_id: str | None = Field(None, min_length=1, max_length=100)
    refusal: str | None = None
    annotations: list[Any] | None = None
    parsed: Any = None
    audio: None = None
    function_call: None = None

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        if not all(isinstance(part, dict) and part.get("type") in PARTS for part in value):
            raise ValueError("only parts of type 'text' are understood")
        texts = [part.get(part["type"]) for part in value]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("the text of a part must be text")
        return "".join(texts)

    @field_validator("content")
    @classmethod
    def _is_text(cls, value: str | None) -> str | None:
        return None if value is None else unicode_text(value)

    @model_validator(mode="after")
    def _fits_its_role(self) -> SentMessage:
        if self.tool_calls and self.role != "assistant":
            raise ValueError(f"a message with role '{self.role}' cannot hold 'tool_calls'")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("'tool_call_id' must stand in messages with role 'tool', and in no others")
        may_be_empty = self.tool_calls or (self.role != "user" and self.content is not None)
        if not (may_be_empty or (self.content or "").strip()):
            raise ValueError("content must not be empty")
        return self


class Function(Request):
    """What a model may call; `parameters` is a JSON schema of an object."""

    name: str = Field(pattern=NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @field_validator("parameters")
    @classmethod
    def _is_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value and value.get("type") != "object":
            raise ValueError("must be a JSON schema of type 'object'")
        if value and not isinstance(value.get("properties", {}), dict):
            raise ValueError("'properties' of a JSON schema must be an object")
        required = (value or {}).get("required", [])
        if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
            raise ValueError("'required' of a JSON schema must be a list of names")
        return value


class Tool(Request):
    type: Literal["function"]
    function: Function


def unicode_text(value: str) -> str:
    """Return text.

    Raises:
        ValueError: it holds half of a surrogate pair.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode text") from None
    return value


def some_text(value: str) -> str:
    """Return text that says something.

    Raises:
        ValueError: it is blank, or no Unicode.
    """
    if not unicode_text(value).strip():
        raise ValueError("must not be empty")
    return value
