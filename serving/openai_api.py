"""The OpenAI chat API as this service speaks it: requests checked, errors, answers and chunks in its shapes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError, field_validator

from serving.history import Call
from serving.messages import MAX_CHARACTERS, MAX_TOOLS, Request, SentMessage, Tool, some_text
from serving.response_format import ResponseFormat

MAX_BODY = 1_000_000
"""Bytes of a request; a longer one is refused unread."""
MAX_MESSAGES = 200
MAX_STOPS, MAX_STOP = 4, 1000
NOT_OFFERED = (
    "audio", "function_call", "functions", "logit_bias", "prediction", "prompt_cache_retention", "reasoning_effort",
    "verbosity", "web_search_options",
)  # fmt: skip
"""What OpenAI's API has beside what is offered here; clients send it without a value, which changes nothing."""
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


def unknown_model(name: str) -> ApiError:
    """Return the refusal of a model that is not there, or not for who asks."""
    message = f"the model '{name}' does not exist, or answers no more; GET /v1/models lists those that do"
    return ApiError(404, message, "model_not_found", "model")


R = TypeVar("R", bound=Request)

COMPLETION = "chatcmpl-"
"""What stands before a message's id in the `id` of its answer."""


def _bare(name: str) -> str:
    return name.removeprefix(COMPLETION)


MessageId = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_bare)]
"""A message's id, or the `id` of its answer, which is all that OpenAI's clients show without being asked."""


class StreamOptions(Request):
    include_usage: bool = False
    include_obfuscation: bool | None = None
    """Taken and not done: padding against who measures the size of packets is left to TLS."""


class ChatRequest(Request):
    """`POST /v1/chat/completions`; `conversation_id` and `regenerate` are ours, the rest is OpenAI's.

    What OpenAI's API has beside it and would change an answer is refused by name; the last fields change none.
    """

    messages: list[SentMessage] = Field(default=[], max_length=MAX_MESSAGES)
    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    presence_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    n: Literal[1] | None = None
    response_format: ResponseFormat | None = None
    user: str | None = Field(None, min_length=1, max_length=500)
    tools: list[Tool] | None = Field(None, min_length=1, max_length=MAX_TOOLS)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    conversation_id: str | None = Field(None, min_length=1, max_length=100)
    regenerate: MessageId | None = None
    """A message of this conversation to answer again."""

    metadata: dict[str, str] | None = None
    store: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Literal[0] | None = None
    modalities: list[Literal["text"]] | None = None
    service_tier: Literal["auto", "default"] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    audio: None = None
    function_call: None = None
    functions: None = None
    logit_bias: None = None
    prediction: None = None
    prompt_cache_retention: None = None
    reasoning_effort: None = None
    verbosity: None = None
    web_search_options: None = None

    @field_validator(*NOT_OFFERED, mode="before")
    @classmethod
    def _says_nothing(cls, value: Any) -> None:
        if value:
            raise ValueError("is not offered; leave it out")

    @field_validator("stop")
    @classmethod
    def _can_stop(cls, value: str | list[str] | None) -> str | list[str] | None:
        sequences = [value] if isinstance(value, str) else value or []
        if len(sequences) > MAX_STOPS or not all(0 < len(one) <= MAX_STOP for one in sequences):
            raise ValueError(f"must be at most {MAX_STOPS} sequences of 1 to {MAX_STOP} characters")
        return value

    @field_validator("logprobs")
    @classmethod
    def _has_none(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("is not offered: what the guardrails leave out of an answer would stand in them")
        return value


class Span(Request):
    """Characters `start` to `end` (not included) of a reply, in Unicode code points, and what is wrong with them."""

    start: int = Field(ge=0)
    end: int = Field(ge=1)
    label: Literal["wrong", "toxic"]


class FeedbackRequest(Request):
    """`POST /v1/feedback`: a thumb, an edit, marked spans, or several of them, on one reply."""

    conversation_id: str = Field(min_length=1, max_length=100)
    message_id: MessageId
    rating: Literal["up", "down"] | None = None
    reason: str | None = Field(None, min_length=1, max_length=500)
    correction: str | None = Field(None, max_length=MAX_CHARACTERS)
    replaces: MessageId | None = None
    spans: list[Span] = Field(default=[], max_length=50)
    consent: bool = False
    user: str | None = Field(None, min_length=1, max_length=500)

    @field_validator("reason", "correction")
    @classmethod
    def _is_text(cls, value: str | None) -> str | None:
        return None if value is None else some_text(value)


def parse(kind: type[R], body: bytes) -> R:
    """Return a request body as `kind`.

    Raises:
        ApiError: 400, naming what is wrong: the JSON, an unknown field, a value.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not valid JSON: {error}", "invalid_json") from None
    if b"\\u" in body and not _is_unicode(value):
        raise ApiError(400, "the body holds half of a surrogate pair, which is not unicode text", "invalid_value")
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object", "invalid_json")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _explained(error.errors()[0]) from None


def _is_unicode(value: Any) -> bool:
    """Tell whether all text in a value can be written; engines answer what cannot by a 500, as if they were broken."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _explained(item: Any) -> ApiError:
    param = ".".join(map(str, item["loc"])) or None
    if item["type"] == "extra_forbidden":
        return ApiError(400, f"unrecognized request argument: {param}", "unknown_parameter", param)
    return ApiError(400, f"{param}: {item['msg'].removeprefix('Value error, ')}", "invalid_value", param)


def chunk(identity: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """Return one event of a stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**identity, "object": "chat.completion.chunk", "choices": [choice]}


def text_events(identity: dict[str, Any]) -> Callable[[str], bytes]:
    """Return what makes the event of a piece of text: `event` of `chunk`, with all but the text written once."""
    before, after = event(chunk(identity, {"content": "\0"})).split(b'"\\u0000"')
    return lambda text: before + json.dumps(text, ensure_ascii=False).encode() + after


def completion(
    identity: dict[str, Any], text: str, calls: list[Call], finish: str, usage: dict[str, int]
) -> dict[str, Any]:
    """Return a whole answer; where it calls tools without a word, its content is null."""
    called = {"tool_calls": calls} if calls else {}
    message = {"role": "assistant", "content": None if calls and not text else text, "refusal": None, **called}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {**identity, "object": "chat.completion", "choices": [choice], "usage": usage}


def event(value: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
