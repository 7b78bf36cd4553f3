"""The form of an answer, as OpenAI's API names it: text, any JSON object, or JSON by a schema."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, model_validator

from serving.messages import NAME, Request

MAX_SCHEMA = 20_000
"""Bytes of a schema, as JSON; the engine makes a grammar of it before it answers."""


class Schema(Request):
    """What an answer must be; the engine holds the model to it."""

    name: str = Field(pattern=NAME)
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Request):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> ResponseFormat:
        if (self.json_schema is not None) != (self.type == "json_schema"):
            raise ValueError("'json_schema' must stand with the type 'json_schema', and with no other")
        if self.json_schema is not None and _size(self.json_schema.schema_) > MAX_SCHEMA:
            raise ValueError(f"the schema takes more than {MAX_SCHEMA:,} bytes")
        return self


def _size(schema: dict[str, Any]) -> int:
    """Return how many bytes a schema takes.

    Raises:
        ValueError: it holds what is neither JSON nor Unicode.
    """
    return len(json.dumps(schema, ensure_ascii=False, allow_nan=False).encode())
