"""The OpenAI chat API as this service speaks it: requests checked, errors, answers and chunks in its shapes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

MAX_BODY = 1_000_000
"""Bytes of a request; a longer one is refused unread."""
MAX_MESSAGES = 200
MAX_CHARACTERS = 60_000
"""Of one message; the model's own window is smaller and is enforced in tokens by the engine."""
KINDS = {401: "authentication_error", 429: "rate_limit_error"}
"""OpenAI's names for errors that are not the request's own."""


class ApiError(Exception):
    """A refusal in OpenAI's error format, with its HTTP status and, where waiting helps, for how long."""

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, retry_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_seconds = retry_seconds

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_seconds is None else {"Retry-After": str(max(1, math.ceil(self.retry_seconds)))}

    def body(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class Request(BaseModel):
    """Base of request bodies: an unknown field is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


R = TypeVar("R", bound=Request)


class Message(Request):
    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=MAX_CHARACTERS)
    name: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
            raise ValueError("only parts of type 'text' are understood")
        return "".join(str(part.get("text", "")) for part in value)

    @field_validator("content")
    @classmethod
    def _is_text(cls, value: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("must be valid Unicode text") from None
        if not value.strip():
            raise ValueError("must not be empty")
        return value


class StreamOptions(Request):
    include_usage: bool = False


class ChatRequest(Request):
    """`POST /v1/chat/completions`; `conversation_id` and `regenerate` are ours, the rest is OpenAI's."""

    messages: list[Message] = Field(default=[], max_length=MAX_MESSAGES)
    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    presence_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = Field(None, max_length=1000)
    n: Literal[1] | None = None
    user: str | None = Field(None, min_length=1, max_length=500)
    metadata: dict[str, str] | None = None
    store: bool | None = None

    conversation_id: str | None = Field(None, min_length=1, max_length=100)
    regenerate: str | None = Field(None, min_length=1, max_length=100)
    """A message of this conversation to answer again."""


class FeedbackRequest(Request):
    """`POST /v1/feedback`: a thumb, an edit, or both, on one reply."""

    conversation_id: str = Field(min_length=1, max_length=100)
    message_id: str = Field(min_length=1, max_length=100)
    rating: Literal["up", "down"] | None = None
    reason: str | None = Field(None, min_length=1, max_length=500)
    correction: str | None = Field(None, max_length=MAX_CHARACTERS)
    replaces: str | None = Field(None, min_length=1, max_length=100)
    consent: bool = False
    user: str | None = Field(None, min_length=1, max_length=500)

    @field_validator("reason", "correction")
    @classmethod
    def _is_text(cls, value: str | None) -> str | None:
        return None if value is None else Message._is_text(value)


def parse(kind: type[R], body: bytes) -> R:
    """Return a request body as `kind`.

    Raises:
        ApiError: 400, naming what is wrong: the JSON, an unknown field, a value.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not valid JSON: {error}", "invalid_json") from None
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object", "invalid_json")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _explained(error.errors()[0]) from None


def _explained(item: Any) -> ApiError:
    param = ".".join(map(str, item["loc"])) or None
    if item["type"] == "extra_forbidden":
        return ApiError(400, f"unrecognized request argument: {param}", "unknown_parameter", param)
    return ApiError(400, f"{param}: {item['msg'].removeprefix('Value error, ')}", "invalid_value", param)


def chunk(identity: dict[str, Any], delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    """Return one event of a stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**identity, "object": "chat.completion.chunk", "choices": [choice]}


def text_events(identity: dict[str, Any]) -> Callable[[str], bytes]:
    """Return what makes the event of a piece of text: `event` of `chunk`, with all but the text written once."""
    before, after = event(chunk(identity, {"content": "\0"})).split(b'"\\u0000"')
    return lambda text: before + json.dumps(text, ensure_ascii=False).encode() + after


def completion(identity: dict[str, Any], text: str, finish: str, usage: dict[str, int]) -> dict[str, Any]:
    """Return a whole answer."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {**identity, "object": "chat.completion", "choices": [choice], "usage": usage}


def event(value: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
