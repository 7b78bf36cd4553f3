"""The orchestrator: from a checked request to a prompt, to the engine's pieces, to a reply in the history."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from anyio import CancelScope, to_thread

from serving import metrics
from serving.admission import Admission, within
from serving.cache.partition import Partition, is_deterministic, sampling_of
from serving.cache.semantic import SemanticCache
from serving.draft import Draft, answer_of, attributes_of, reply_of
from serving.entry import Guest
from serving.guard.guard import Guard
from serving.guard.guard import Request as Judged
from serving.guard.verdict import Verdict
from serving.history import FILTERED, History, Messages, Reply
from serving.memory.context import Asked, Context, Memory
from serving.memory.tokens import with_system
from serving.models.pool import Pool
from serving.openai_api import ApiError, ChatRequest
from serving.release import Release
from serving.retrieval.pipeline import Retrieval
from serving.retrieval.sources import context_room, room_in, tenants_of
from serving.tolerance import tolerated
from serving.tools.request import Offered, defined_by, offered_of, prompt_of, uses_tools
from serving.trace import note, span
from serving.upstream import Piece
from serving.vitals import tally
from thumbwheel.arms import CONTROL

PASSED_ON = ("top_p", "frequency_penalty", "presence_penalty", "seed", "stop", "response_format")


class Orchestrator:
    """One release's way of answering."""

    def __init__(
        self,
        release: Release,
        history: History,
        pool: Pool,
        admission: Admission,
        guard: Guard,
        memory: Memory,
        cache: SemanticCache | None,
        retrieval: Retrieval | None,
        shared_tenants: Sequence[str],
        note: Callable[[Draft], None] = lambda draft: None,
    ) -> None:
        self.release, self.history, self.pool, self.admission = release, history, pool, admission
        self.guard, self.memory, self.cache = guard, memory, cache
        self.retrieval, self._shared = retrieval, shared_tenants
        self.arm, self.answering, self._note = CONTROL, 0, note

    async def draft(self, request: ChatRequest, guest: Guest) -> Draft:
        """Return the draft of a reply: its place in a conversation, its prompt and the engine's payload.

        Raises:
            ApiError: 400 for no or misplaced messages or one that is too long, 404 for a model, conversation or message
                that is not there.
        """
        earlier = await self._earlier(request, guest)
        offered = offered_of(request) or (earlier.offered if earlier else None)
        context, verdict = await (self._again(earlier) if earlier else self._context(request, guest, offered))
        payload, with_tools = self._payload(request, context, offered), bool(offered) or uses_tools(context.prompt)
        wanted = self.pool.wanted(request.model, context.prompt, guest.caller, with_tools)
        return Draft(
            conversation_id=context.asked.conversation,
            message_id=f"m-{uuid.uuid4().hex}",
            user=guest.user,
            context=context,
            replaces=earlier.message_id if earlier else None,
            payload=payload,
            partition=None
            if earlier or with_tools or not wanted.is_primary
            else self._partition(context, guest, payload),
            wanted=wanted,
            model=self.release.model,
            is_streamed=bool(request.stream),
            verdict=verdict,
            tenants=self._tenants(guest),
            retrieved=earlier.retrieved if earlier else None,
            arm=self.arm,
            offered=offered,
        )

    def may_read(self, guest: Guest, reply: Reply) -> bool:
        """Tell whether a reply is a guest's to see: theirs, and from no other tenant's documents."""
        is_theirs = guest.may_see(reply.conversation_id, reply.user)
        return is_theirs and tenants_of(reply.retrieved) <= set(self._tenants(guest))

    async def pieces(self, draft: Draft) -> AsyncGenerator[Piece, None]:
        """Yield a reply's text and calls as they come; the reply is in the history when this ends, however it ends."""
        self.answering += 1
        try:
            async with aclosing(within(self._guarded(draft), self.admission.options.answer_seconds)) as stream:
                async for piece in stream:
                    is_said = bool(piece.text or piece.calls)
                    if is_said and not (draft.text or draft.called) and draft.is_streamed:
                        self._count_first(draft)
                    draft.add(piece)
                    if is_said:
                        yield piece
        except ApiError as error:
            draft.finish = "error" if error.status >= 500 else "refused"
            raise
        finally:
            self.answering -= 1
            await self._save(draft)

    async def _guarded(self, draft: Draft) -> AsyncGenerator[Piece, None]:
        """Yield what may be sent of a reply; a refused request never reaches the engine."""
        if draft.verdict:
            yield Piece(self.guard.options.refusal, FILTERED)
            return
        reply = self.guard.reply(draft.context.prompt)
        async with aclosing(reply.screened(self._admitted(draft))) as stream:
            async for piece in stream:
                draft.verdict = reply.verdict
                yield piece

    async def _admitted(self, draft: Draft) -> AsyncGenerator[Piece, None]:
        if self.cache and draft.partition:
            with span("cache") as traced:
                draft.lookup = await self.cache.look(draft.partition, draft.context.whole[-1]["content"])
                traced.set_attributes({"cache.hit": draft.is_cached, "cache.reason": draft.lookup.reason})
            if (answer := draft.lookup.answer) is not None:
                draft.retrieved = answer.retrieved
                yield Piece(answer.text, answer.finish, answer.prompt_tokens, answer.reply_tokens)
                return
        async with self.pool.turn(draft.wanted) as turn:
            if (said := await self._grounded(draft)) is not None:
                yield Piece(said, "stop")
                return
            whole = not draft.is_streamed and draft.payload["max_tokens"] <= self.pool.options.whole_tokens
            async with aclosing(turn.stream(draft.payload, whole)) as stream:
                async for piece in stream:
                    draft.model = turn.model
                    if piece.text and not whole:
                        draft.pace.words_came()
                    yield piece

    async def _grounded(self, draft: Draft) -> str | None:
        """Set documents into a draft's prompt; return the whole answer where it is that nothing is known.

        A reply that is made again keeps the documents of the first one, so that the two differ in the answer alone.
        """
        if self.retrieval is None or draft.replaces is not None:
            return None
        prompt, room = draft.context.prompt, self._room(draft)
        with span("retrieval") as traced:
            grounding = await self.retrieval.ground(prompt, draft.tenants, room, self.guard.document)
            traced.set_attributes({"retrieval.documents": grounding.count, "retrieval.unknown": bool(grounding.answer)})
        if grounding.retrieved is not None and not await self.memory.has_room(draft.context, grounding.messages):
            metrics.RETRIEVAL_FAULTS.labels("room").inc()
        elif grounding.retrieved is not None:
            draft.context, draft.retrieved = replace(draft.context, prompt=grounding.messages), grounding.retrieved
            draft.payload["messages"] = with_system(draft.context.system, grounding.messages)
        is_free = not (draft.offered or "response_format" in draft.payload)  # a tool may know, a form must be kept
        return grounding.answer if is_free else None

    def _room(self, draft: Draft) -> int:
        """Return how many characters of documents the window has room for."""
        if draft.context.room is not None:
            return room_in(draft.context.room)
        messages, tools = draft.payload["messages"], draft.payload.get("tools", [])
        return context_room(messages, tools, self.release.window, draft.payload["max_tokens"])

    def _tenants(self, guest: Guest) -> list[str]:
        """Return whose documents a guest is answered from."""
        return [*self._shared, *([guest.caller.tenant] if guest.caller.tenant else [])]

    async def _earlier(self, request: ChatRequest, guest: Guest) -> Reply | None:
        if request.regenerate is None:
            return None
        found = await to_thread.run_sync(self.history.find, request.regenerate)
        if (
            found is None
            or request.conversation_id not in (None, found.conversation_id)
            or not self.may_read(guest, found)
        ):
            raise ApiError(404, f"there is no message '{request.regenerate}' here", "message_not_found", "regenerate")
        return found

    async def _conversation(self, request: ChatRequest, guest: Guest) -> str:
        if request.conversation_id is None:
            return guest.new_conversation()
        earlier = await to_thread.run_sync(self.history.conversation, request.conversation_id)
        if not earlier or not all(self.may_read(guest, reply) for reply in earlier):
            name = request.conversation_id
            raise ApiError(404, f"there is no conversation '{name}'", "conversation_not_found", "conversation_id")
        return request.conversation_id

    async def _context(
        self, request: ChatRequest, guest: Guest, offered: Offered | None
    ) -> tuple[Context, Verdict | None]:
        """Return what goes to the engine, as the guard let it pass, or the verdict by which nothing goes there."""
        prompt, own = prompt_of(request)
        seen = await self._judged(prompt, own, defined_by(request))
        asked = Asked(
            conversation=await self._conversation(request, guest),
            is_new=request.conversation_id is None,
            user=guest.user if guest.is_proven else None,
            prompt=seen.messages,
            system="\n\n".join(filter(None, [self.release.system_prompt, seen.system])),
            budget=self.release.window - self._most(request),
            tools=offered["tools"] if offered else [],
        )
        return _plain(asked) if seen.verdict else await self._remembered(asked), seen.verdict

    async def _judged(self, prompt: Messages, own: str = "", defined: str = "") -> Judged:
        with span("guard") as traced:
            seen = await self.guard.request(prompt, own, defined)
            traced.set_attributes({"guard.redacted": len(seen.redacted), "guard.refused": seen.verdict is not None})
        return seen

    async def _remembered(self, asked: Asked) -> Context:
        with span("memory") as traced:
            context = await self.memory.context(asked)
            traced.set_attributes({"memory.messages": len(context.prompt), "memory.tokens": context.tokens})
        return context

    async def _again(self, earlier: Reply) -> tuple[Context, Verdict | None]:
        """Return the context of a second try: the very prompt that led to the first."""
        seen = await self._judged(earlier.said())
        asked = Asked(earlier.conversation_id, False, None, earlier.prompt, earlier.system, self.release.window)
        return _plain(asked), seen.verdict

    def _payload(self, request: ChatRequest, context: Context, offered: Offered | None) -> dict[str, Any]:
        given = request.model_dump(include=set(PASSED_ON), exclude_none=True, by_alias=True)
        if given.get("response_format") == {"type": "text"}:
            del given["response_format"]  # which is what an answer has anyway
        return {
            **given,
            **(offered or {}),
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
        scope = guest.scope if self.cache.options.scope == "tenant" else f"user:{guest.user}"
        documents = f"{self.release.index} of {' '.join(self._tenants(guest))}" if self.retrieval else ""
        return Partition(scope, context.system, self.release.bundle, documents, sampling_of(payload))

    def _temperature(self, request: ChatRequest) -> float:
        if request.regenerate is not None and not request.temperature:
            return self.release.regenerate_temperature
        return self.release.temperature if request.temperature is None else request.temperature

    def _count_first(self, draft: Draft) -> None:
        draft.first_seconds = time.monotonic() - draft.started
        metrics.FIRST_TOKEN.labels(draft.model, draft.arm).observe(draft.first_seconds)

    async def _save(self, draft: Draft) -> None:
        tally(draft)
        note(attributes_of(draft))
        with CancelScope(shield=True):
            if draft.unit is not None:
                with tolerated("arms"):
                    await to_thread.run_sync(self._note, draft)
            if draft.is_kept:
                await self._keep(draft, reply_of(draft))
            is_whole = draft.is_kept and draft.finish in ("stop", "length")
            if self.cache and draft.lookup and draft.model == self.release.model and is_whole:
                await self.cache.keep(draft.lookup, answer_of(draft))

    async def _keep(self, draft: Draft, reply: Reply) -> None:
        with tolerated("history"):
            await to_thread.run_sync(self.history.save, reply)
            if draft.finish != FILTERED and draft.is_kept:  # what was refused is no part of what is talked about
                await self.memory.remember(draft.context, reply, self.admission.is_full)


def _plain(asked: Asked) -> Context:
    """Return a context that nothing is added to and nothing left out of."""
    return Context(asked, asked.prompt, asked.system, asked.prompt, 0, 0)
