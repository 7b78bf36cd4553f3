"""A reply in the making, and what becomes of it: a reply in the history, an answer in the cache."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from serving.cache.answers import Answer
from serving.cache.partition import Partition
from serving.cache.semantic import Lookup
from serving.guard.verdict import Verdict
from serving.history import Reply
from serving.memory.context import Context
from serving.retrieval.sources import citations
from serving.upstream import Piece

ARM = "control"


@dataclass
class Draft:
    """A reply in the making. `partition` is None where no answer may come from the cache, or go there."""

    conversation_id: str
    message_id: str
    user: str
    context: Context
    replaces: str | None
    payload: dict[str, Any]
    partition: Partition | None
    is_streamed: bool = True
    lookup: Lookup | None = None
    text: str = ""
    finish: str = "cancelled"
    verdict: Verdict | None = None
    prompt_tokens: int = 0
    reply_tokens: int = 0
    tenants: list[str] = field(default_factory=list)
    retrieved: dict[str, Any] | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def is_cached(self) -> bool:
        return self.lookup is not None and self.lookup.answer is not None

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
        self.finish = piece.finish or self.finish
        self.prompt_tokens = piece.prompt_tokens or self.prompt_tokens
        self.reply_tokens = piece.reply_tokens or self.reply_tokens


def now() -> str:
    """Return the time, ISO 8601 in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reply_of(draft: Draft, model: str) -> Reply:
    """Return a draft as the history keeps it."""
    return Reply(
        message_id=draft.message_id,
        conversation_id=draft.conversation_id,
        prompt=draft.context.prompt,
        system=draft.context.system,
        reply=draft.text,
        finish=draft.finish,
        model=model,
        arm=ARM,
        user=draft.user,
        replaces=draft.replaces,
        prompt_tokens=draft.prompt_tokens,
        reply_tokens=draft.reply_tokens,
        created_at=now(),
        retrieved=draft.retrieved,
    )


def answer_of(draft: Draft, model: str) -> Answer:
    """Return a draft as the cache keeps it."""
    question = draft.context.whole[-1]["content"]
    counts = draft.prompt_tokens, draft.reply_tokens
    return Answer(question, draft.text, draft.finish, *counts, model, draft.user, draft.retrieved)
