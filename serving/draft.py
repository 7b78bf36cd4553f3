"""A reply in the making, and what becomes of it: a reply in the history, an answer in the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from serving.cache.answers import Answer
from serving.cache.partition import Partition
from serving.cache.semantic import Lookup
from serving.guard.verdict import Verdict
from serving.history import Call, Reply
from serving.memory.context import Context
from serving.models.turn import Wanted
from serving.retrieval.sources import citations
from serving.tools.fragments import Fragments, whole_calls
from serving.tools.request import Offered
from serving.trace import Attributes
from serving.upstream import Piece
from serving.vitals import Pace
from thumbwheel.arms import CONTROL


@dataclass
class Draft:
    """A reply in the making; `model` is who writes it, the release until another engine has begun.

    `partition` is None where no answer may come from the cache, or go there. `arm` answers; `unit` is who is counted
    for it, None where the reply does not count; `is_streamed` tells whether the user sees a reply that breaks off, and
    `is_erased` that they had all erased that is kept of them. `offered` is what the request said of tools.
    """

    conversation_id: str
    message_id: str
    user: str
    context: Context
    replaces: str | None
    payload: dict[str, Any]
    partition: Partition | None
    wanted: Wanted
    model: str
    is_streamed: bool = True
    is_erased: bool = False
    lookup: Lookup | None = None
    text: str = ""
    finish: str = "cancelled"
    verdict: Verdict | None = None
    prompt_tokens: int = 0
    reply_tokens: int = 0
    tenants: list[str] = field(default_factory=list)
    retrieved: dict[str, Any] | None = None
    started: float = field(default_factory=time.monotonic)
    first_seconds: float | None = None
    arm: str = CONTROL
    unit: str | None = None
    offered: Offered | None = None
    called: Fragments = ()
    pace: Pace = field(default_factory=Pace)

    @property
    def calls(self) -> list[Call]:
        return whole_calls(self.called)

    @property
    def is_cached(self) -> bool:
        return self.lookup is not None and self.lookup.answer is not None

    @property
    def is_kept(self) -> bool:
        """Tell whether the history keeps the reply: what a user saw of it, or all of it."""
        if self.is_erased or (self.finish == "error" and not self.is_streamed):
            return False
        return bool(self.text or self.called) or self.finish in ("stop", "length")

    @property
    def citations(self) -> list[dict[str, Any]]:
        return citations(self.text, self.retrieved["sources"]) if self.retrieved else []

    @property
    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.reply_tokens,
            "total_tokens": self.prompt_tokens + self.reply_tokens,
        }

    def add(self, piece: Piece) -> None:
        self.text += piece.text
        self.called += piece.calls
        self.finish = piece.finish or self.finish
        if self.called and self.finish == "stop":
            self.finish = CALLED
        self.prompt_tokens = piece.prompt_tokens or self.prompt_tokens
        self.reply_tokens = piece.reply_tokens or self.reply_tokens


class UnderWay:
    """The drafts that this process is at, which nothing keeps of a user who is erased meanwhile."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}

    @contextmanager
    def one(self, draft: Draft) -> Iterator[None]:
        """Count a draft among them for the length of a `with` block."""
        self._drafts[draft.message_id] = draft
        try:
            yield
        finally:
            del self._drafts[draft.message_id]

    def forget(self, user: str) -> None:
        """Let nothing be kept of a user's drafts."""
        for draft in self._drafts.values():
            draft.is_erased |= draft.user == user


CALLED = "tool_calls"
"""How a reply ends that calls tools, by OpenAI's name."""


def now() -> str:
    """Return the time, ISO 8601 in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reply_of(draft: Draft) -> Reply:
    """Return a draft as the history keeps it."""
    return Reply(
        message_id=draft.message_id,
        conversation_id=draft.conversation_id,
        prompt=draft.context.prompt,
        system=draft.context.system,
        reply=draft.text,
        finish=draft.finish,
        model=draft.model,
        arm=draft.arm,
        user=draft.user,
        replaces=draft.replaces,
        prompt_tokens=draft.prompt_tokens,
        reply_tokens=draft.reply_tokens,
        created_at=now(),
        retrieved=draft.retrieved,
        calls=draft.calls or None,
        offered=draft.offered,
    )


def answer_of(draft: Draft) -> Answer:
    """Return a draft as the cache keeps it."""
    question = draft.context.whole[-1]["content"]
    counts = draft.prompt_tokens, draft.reply_tokens
    return Answer(question, draft.text, draft.finish, *counts, draft.model, draft.user, draft.retrieved)


def attributes_of(draft: Draft) -> Attributes:
    """Return what a trace tells of a reply, by OpenTelemetry's names where it has them: ids, counts, how it ended."""
    told: dict[str, str | int | bool | list[str]] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": draft.model,
        "gen_ai.response.finish_reasons": [draft.finish],
        "gen_ai.usage.input_tokens": draft.prompt_tokens,
        "gen_ai.usage.output_tokens": draft.reply_tokens,
        "thumbwheel.message": draft.message_id,
        "thumbwheel.cached": draft.is_cached,
    }
    verdict = {"guard.layer": draft.verdict.layer, "guard.rule": draft.verdict.rule} if draft.verdict else {}
    return {**told, **verdict}
