"""The orchestrator: from a checked request to a prompt, to the engine's pieces, to a reply in the history."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from serving import metrics
from serving.admission import Admission, within
from serving.entry import Guest
from serving.history import History, Messages, Reply
from serving.openai_api import ApiError, ChatRequest
from serving.release import Release
from serving.retrieval.pipeline import Retrieval
from serving.retrieval.sources import citations, context_room, tenants_of
from serving.upstream import Piece, Upstream

ARM = "control"
PASSED_ON = ("top_p", "frequency_penalty", "presence_penalty", "seed", "stop")


@dataclass
class Draft:
    """A reply in the making."""

    conversation_id: str
    message_id: str
    user: str
    prompt: Messages
    system: str
    replaces: str | None
    payload: dict[str, Any]
    text: str = ""
    finish: str = "cancelled"
    prompt_tokens: int = 0
    reply_tokens: int = 0
    tenants: list[str] = field(default_factory=list)
    retrieved: dict[str, Any] | None = None
    started: float = field(default_factory=time.monotonic)

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


class Orchestrator:
    """One release's way of answering."""

    def __init__(
        self,
        release: Release,
        history: History,
        upstream: Upstream,
        admission: Admission,
        retrieval: Retrieval | None,
        shared_tenants: Sequence[str],
    ) -> None:
        self.release, self.history, self.upstream, self.admission = release, history, upstream, admission
        self.retrieval, self._shared = retrieval, shared_tenants

    def draft(self, request: ChatRequest, guest: Guest) -> Draft:
        """Return the draft of a reply: its place in a conversation, its prompt and the engine's payload.

        Raises:
            ApiError: 400 for no or misplaced messages, 404 for a model, conversation or message that is not there.
        """
        if request.model not in (None, self.release.name, self.release.model):
            raise ApiError(404, f"the model '{request.model}' does not exist", "model_not_found", "model")
        earlier = self._earlier(request, guest)
        prompt, system = (earlier.prompt, earlier.system) if earlier else self._prompt(request)
        return Draft(
            conversation_id=earlier.conversation_id if earlier else self._conversation(request, guest),
            message_id=f"m-{uuid.uuid4().hex}",
            user=guest.user,
            prompt=prompt,
            system=system,
            replaces=earlier.message_id if earlier else None,
            payload=self._payload(request, prompt, system),
            tenants=self._tenants(guest),
            retrieved=earlier.retrieved if earlier else None,
        )

    def may_read(self, guest: Guest, reply: Reply) -> bool:
        """Tell whether a reply is a guest's to see: theirs, and from no other tenant's documents."""
        return guest.may_see(reply.user) and tenants_of(reply.retrieved) <= set(self._tenants(guest))

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
            self._save(draft)

    async def _admitted(self, draft: Draft) -> AsyncGenerator[Piece, None]:
        async with self.admission.place():
            if (said := await self._grounded(draft)) is not None:
                yield Piece(said, "stop")
                return
            async with aclosing(self.upstream.stream(draft.payload)) as stream:
                async for piece in stream:
                    yield piece

    async def _grounded(self, draft: Draft) -> str | None:
        """Set documents into a draft's prompt; return the whole answer where it is that nothing is known.

        A reply that is made again keeps the documents of the first one, so that the two differ in the answer alone.
        """
        if self.retrieval is None or draft.replaces is not None:
            return None
        grounding = await self.retrieval.ground(draft.prompt, draft.tenants, self._room(draft))
        if grounding.retrieved is not None:
            draft.prompt, draft.retrieved = grounding.messages, grounding.retrieved
            draft.payload["messages"][-1] = grounding.messages[-1]
        return grounding.answer

    def _room(self, draft: Draft) -> int:
        return context_room(draft.payload["messages"], self.release.window, draft.payload["max_tokens"])

    def _tenants(self, guest: Guest) -> list[str]:
        """Return whose documents a guest is answered from."""
        return [*self._shared, *([guest.caller.tenant] if guest.caller.tenant else [])]

    def _earlier(self, request: ChatRequest, guest: Guest) -> Reply | None:
        if request.regenerate is None:
            return None
        found = self.history.find(request.regenerate)
        if (
            found is None
            or request.conversation_id not in (None, found.conversation_id)
            or not self.may_read(guest, found)
        ):
            raise ApiError(404, f"there is no message '{request.regenerate}' here", "message_not_found", "regenerate")
        return found

    def _conversation(self, request: ChatRequest, guest: Guest) -> str:
        if request.conversation_id is None:
            return f"c-{uuid.uuid4().hex}"
        earlier = self.history.conversation(request.conversation_id)
        if not earlier or not self.may_read(guest, earlier[0]):
            name = request.conversation_id
            raise ApiError(404, f"there is no conversation '{name}'", "conversation_not_found", "conversation_id")
        return request.conversation_id

    def _prompt(self, request: ChatRequest) -> tuple[Messages, str]:
        if not request.messages:
            raise ApiError(400, "messages: must not be empty", "invalid_value", "messages")
        if request.messages[-1].role != "user":
            raise ApiError(400, "messages: the last message must be the user's", "invalid_value", "messages")
        own = [m.content for m in request.messages if m.role == "system"]
        prompt = [{"role": m.role, "content": m.content} for m in request.messages if m.role != "system"]
        return prompt, "\n\n".join(filter(None, [self.release.system_prompt, *own]))

    def _payload(self, request: ChatRequest, prompt: Messages, system: str) -> dict[str, Any]:
        before = [{"role": "system", "content": system}] if system else []
        wished = request.max_completion_tokens or request.max_tokens or self.release.max_tokens
        given = request.model_dump(include=set(PASSED_ON), exclude_none=True)
        return {
            **given,
            "model": self.release.model,
            "messages": [*before, *prompt],
            "temperature": self._temperature(request),
            "max_tokens": min(wished, self.release.max_tokens),
        }

    def _temperature(self, request: ChatRequest) -> float:
        if request.regenerate is not None and not request.temperature:
            return self.release.regenerate_temperature
        return self.release.temperature if request.temperature is None else request.temperature

    def _count_first(self, draft: Draft) -> None:
        metrics.FIRST_TOKEN.labels(self.release.model).observe(time.monotonic() - draft.started)

    def _save(self, draft: Draft) -> None:
        model = self.release.model
        metrics.REPLIES.labels(draft.finish, model).inc()
        metrics.TOKENS.labels("prompt", model).inc(draft.prompt_tokens)
        metrics.TOKENS.labels("reply", model).inc(draft.reply_tokens)
        if draft.text or draft.finish in ("stop", "length"):
            self.history.save(_reply(draft, model))


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
        retrieved=draft.retrieved,
    )
