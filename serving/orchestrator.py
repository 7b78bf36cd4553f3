"""The orchestrator: from a checked request to a prompt, to the engine's pieces, to a reply in the history."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from anyio import CancelScope, to_thread

from serving import metrics
from serving.admission import Admission, within
from serving.cache.answers import Answer
from serving.cache.partition import Partition, is_deterministic, sampling_of
from serving.cache.semantic import Lookup, SemanticCache
from serving.entry import Guest
from serving.history import History, Messages, Reply
from serving.memory.context import Asked, Context, Memory
from serving.memory.tokens import with_system
from serving.openai_api import ApiError, ChatRequest
from serving.release import Release
from serving.tolerance import tolerated
from serving.upstream import Piece, Upstream

ARM = "control"
NO_INDEX = ""
"""No documents are looked up for an answer yet, so no version of an index tells two partitions apart."""
PASSED_ON = ("top_p", "frequency_penalty", "presence_penalty", "seed", "stop")


@dataclass
class Draft:
    """A reply in the making. `partition` is None where no answer may come from the cache, or go there."""

    conversation_id: str
    message_id: str
    user: str
    context: Context
    prompt: Messages
    system: str
    replaces: str | None
    payload: dict[str, Any]
    partition: Partition | None
    lookup: Lookup | None = None
    text: str = ""
    finish: str = "cancelled"
    prompt_tokens: int = 0
    reply_tokens: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def is_cached(self) -> bool:
        return self.lookup is not None and self.lookup.answer is not None

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


class Orchestrator:
    """One release's way of answering."""

    def __init__(
        self,
        release: Release,
        history: History,
        upstream: Upstream,
        admission: Admission,
        memory: Memory,
        cache: SemanticCache | None,
    ) -> None:
        self.release, self.history, self.upstream, self.admission = release, history, upstream, admission
        self.memory, self.cache = memory, cache

    async def draft(self, request: ChatRequest, guest: Guest) -> Draft:
        """Return the draft of a reply: its place in a conversation, its prompt and the engine's payload.

        Raises:
            ApiError: 400 for no or misplaced messages or one that is too long, 404 for a model, conversation or message
                that is not there.
        """
        if request.model not in (None, self.release.name, self.release.model):
            raise ApiError(404, f"the model '{request.model}' does not exist", "model_not_found", "model")
        earlier = await self._earlier(request, guest)
        context = self._again(earlier) if earlier else await self.memory.context(await self._asked(request, guest))
        payload = self._payload(request, context)
        return Draft(
            conversation_id=context.asked.conversation,
            message_id=f"m-{uuid.uuid4().hex}",
            user=guest.user,
            context=context,
            prompt=context.prompt,
            system=context.system,
            replaces=earlier.message_id if earlier else None,
            payload=payload,
            partition=None if earlier else self._partition(context, guest, payload),
        )

    async def pieces(self, draft: Draft) -> AsyncGenerator[str, None]:
        """Yield a reply's text as it comes; the reply is in the history when this ends, however it ends."""
        try:
            async with aclosing(within(self._admitted(draft), self.admission.options.answer_seconds)) as stream:
                async for piece in stream:
                    if piece.text and not draft.text:
                        self._count_first(draft)
                    draft.add(piece)
                    if piece.text:
                        yield piece.text
        except ApiError as error:
            draft.finish = "error" if error.status >= 500 else "refused"
            raise
        finally:
            await self._save(draft)

    async def _admitted(self, draft: Draft) -> AsyncGenerator[Piece, None]:
        if self.cache and draft.partition:
            draft.lookup = await self.cache.look(draft.partition, draft.prompt[-1]["content"])
            if (answer := draft.lookup.answer) is not None:
                yield Piece(answer.text, answer.finish, answer.prompt_tokens, answer.reply_tokens)
                return
        async with self.admission.place(), aclosing(self.upstream.stream(draft.payload)) as stream:
            async for piece in stream:
                yield piece

    async def _earlier(self, request: ChatRequest, guest: Guest) -> Reply | None:
        if request.regenerate is None:
            return None
        found = await to_thread.run_sync(self.history.find, request.regenerate)
        if (
            found is None
            or request.conversation_id not in (None, found.conversation_id)
            or not guest.may_see(found.user)
        ):
            raise ApiError(404, f"there is no message '{request.regenerate}' here", "message_not_found", "regenerate")
        return found

    async def _conversation(self, request: ChatRequest, guest: Guest) -> str:
        if request.conversation_id is None:
            return f"c-{uuid.uuid4().hex}"
        earlier = await to_thread.run_sync(self.history.conversation, request.conversation_id)
        if not earlier or not guest.may_see(earlier[0].user):
            name = request.conversation_id
            raise ApiError(404, f"there is no conversation '{name}'", "conversation_not_found", "conversation_id")
        return request.conversation_id

    async def _asked(self, request: ChatRequest, guest: Guest) -> Asked:
        conversation = await self._conversation(request, guest)
        prompt, system = self._prompt(request)
        return Asked(
            conversation=conversation,
            is_new=request.conversation_id is None,
            user=guest.user if guest.is_proven else None,
            prompt=prompt,
            system=system,
            budget=self.release.window - self._most(request),
        )

    def _again(self, earlier: Reply) -> Context:
        """Return the context of a second try: the very prompt that led to the first."""
        asked = Asked(earlier.conversation_id, False, None, earlier.prompt, earlier.system, self.release.window)
        return Context(asked, earlier.prompt, earlier.system, earlier.prompt, 0, 0)

    def _prompt(self, request: ChatRequest) -> tuple[Messages, str]:
        if not request.messages:
            raise ApiError(400, "messages: must not be empty", "invalid_value", "messages")
        if request.messages[-1].role != "user":
            raise ApiError(400, "messages: the last message must be the user's", "invalid_value", "messages")
        own = [m.content for m in request.messages if m.role == "system"]
        prompt = [{"role": m.role, "content": m.content} for m in request.messages if m.role != "system"]
        return prompt, "\n\n".join(filter(None, [self.release.system_prompt, *own]))

    def _payload(self, request: ChatRequest, context: Context) -> dict[str, Any]:
        given = request.model_dump(include=set(PASSED_ON), exclude_none=True)
        return {
            **given,
            "model": self.release.model,
            "messages": with_system(context.system, context.prompt),
            "temperature": self._temperature(request),
            "max_tokens": self._most(request),
        }

    def _most(self, request: ChatRequest) -> int:
        """Return how many tokens an answer may have."""
        wished = request.max_completion_tokens or request.max_tokens or self.release.max_tokens
        return min(wished, self.release.max_tokens)

    def _partition(self, context: Context, guest: Guest, payload: dict[str, Any]) -> Partition | None:
        if self.cache is None or not (context.is_first_turn and is_deterministic(payload)):
            return None
        scope = guest.tenant if self.cache.options.scope == "tenant" else f"user:{guest.user}"
        return Partition(scope, context.system, self.release.bundle, NO_INDEX, sampling_of(payload))

    def _temperature(self, request: ChatRequest) -> float:
        if request.regenerate is not None and not request.temperature:
            return self.release.regenerate_temperature
        return self.release.temperature if request.temperature is None else request.temperature

    def _count_first(self, draft: Draft) -> None:
        metrics.FIRST_TOKEN.labels(self.release.model).observe(time.monotonic() - draft.started)

    async def _save(self, draft: Draft) -> None:
        model = self.release.model
        metrics.REPLIES.labels(draft.finish, model).inc()
        if not draft.is_cached:
            metrics.TOKENS.labels("prompt", model).inc(draft.prompt_tokens)
            metrics.TOKENS.labels("reply", model).inc(draft.reply_tokens)
        with CancelScope(shield=True):
            if draft.text or draft.finish in ("stop", "length"):
                await self._keep(draft, _reply(draft, model))
            if self.cache and draft.lookup and draft.finish in ("stop", "length"):
                await self.cache.keep(draft.lookup, _answer(draft, model))

    async def _keep(self, draft: Draft, reply: Reply) -> None:
        with tolerated("history"):
            await to_thread.run_sync(self.history.save, reply)
            await self.memory.remember(draft.context, reply, self.admission.is_full)


def now() -> str:
    """Return the time, ISO 8601 in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _reply(draft: Draft, model: str) -> Reply:
    return Reply(
        message_id=draft.message_id,
        conversation_id=draft.conversation_id,
        prompt=draft.prompt,
        system=draft.system,
        reply=draft.text,
        finish=draft.finish,
        model=model,
        arm=ARM,
        user=draft.user,
        replaces=draft.replaces,
        prompt_tokens=draft.prompt_tokens,
        reply_tokens=draft.reply_tokens,
        created_at=now(),
    )


def _answer(draft: Draft, model: str) -> Answer:
    question = draft.prompt[-1]["content"]
    return Answer(question, draft.text, draft.finish, draft.prompt_tokens, draft.reply_tokens, model, draft.user)
