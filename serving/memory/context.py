"""What a prompt is made of: the session's turns, what is known of the user, a summary, and the window over all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from anyio import to_thread
from jinja2 import TemplateError

from serving import metrics
from serving.history import History, Messages, Reply, asked_at, question_of
from serving.memory import blocks
from serving.memory.profile import SqliteProfiles
from serving.memory.recall import SqliteRecall
from serving.memory.session import Session, Sessions, continued, from_history, settled, stands, trimmed, uncovered
from serving.memory.statements import statements
from serving.memory.summary import Summariser, is_due
from serving.memory.tokens import PromptTokens, Tools, with_system
from serving.memory.window import Fitted, TooLongError, fit, turns_of
from serving.openai_api import ApiError
from serving.options import MemoryOptions
from serving.sentences import Sentences
from serving.tolerance import tolerated
from serving.tools.request import are_results, refuse_misplaced

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """A request as memory sees it. `user` is None for somebody whom nobody vouches for; `budget` is in tokens.

    `tools` stand in the prompt, too, and take of the budget.
    """

    conversation: str
    is_new: bool
    user: str | None
    prompt: Messages
    system: str
    budget: int
    tools: Tools = ()

    @property
    def goes_on(self) -> bool:
        """Tell whether the client sent what is new alone: a message, or the results of calls made before."""
        return len(self.prompt) == 1 or are_results(self.prompt)


@dataclass(frozen=True)
class Context:
    """A prompt as it goes to the engine, and what it was made from.

    `whole` is the conversation up to the newest message, `first` the number of messages before it that are not kept;
    `tokens` is the prompt's length before any turn left, or 0 where nothing counts.
    """

    asked: Asked
    prompt: Messages
    system: str
    whole: Messages
    first: int
    tokens: int
    room: int | None = None
    """Tokens of the budget that the prompt leaves, None where nothing counts."""

    @property
    def is_first_turn(self) -> bool:
        return len(self.whole) == 1 and self.first == 0


class Memory:
    """The parts of memory, each of which may be off, and each of which may fail without an answer failing."""

    def __init__(
        self,
        options: MemoryOptions,
        history: History,
        profiles: SqliteProfiles,
        recall: SqliteRecall,
        tokens: PromptTokens | None = None,
        sessions: Sessions | None = None,
        summariser: Summariser | None = None,
        sentences: Sentences | None = None,
    ) -> None:
        self.options, self._history = options, history
        self.profiles, self.recall, self.sessions, self.summariser = profiles, recall, sessions, summariser
        self._tokens, self._sentences = tokens, sentences

    async def context(self, asked: Asked) -> Context:
        """Return what goes to the engine for a request.

        Raises:
            ApiError: 400 where the newest message alone is longer than the budget, or results answer no call.
        """
        session = await self._session(asked)
        whole, first = asked.prompt, 0
        if session and asked.goes_on:
            before = session.messages if are_results(asked.prompt) else settled(session.messages)
            whole, first = [*before, *asked.prompt], session.first
        if are_results(asked.prompt):
            refuse_misplaced(whole)
        notes = [*self._profile(asked), *await self._recalled(asked)]
        if self._tokens is None:
            return self._fitted(asked, session, whole, first, notes)
        return await to_thread.run_sync(self._fitted, asked, session, whole, first, notes)

    async def has_room(self, context: Context, messages: Messages) -> bool:
        """Tell whether other messages fit into a context's budget; where nothing counts, that they do."""
        if self._tokens is None or context.room is None:
            return True
        told = with_system(context.system, messages)
        return await to_thread.run_sync(self._tokens.count, told, context.asked.tools) <= context.asked.budget

    async def remember(self, context: Context, reply: Reply, is_busy: bool) -> None:
        """Keep what a reply and its question leave behind; `is_busy` leaves a summary for another time."""
        with tolerated("sessions"):
            await self._keep_turns(context, reply)
        if reply.replaces is None:
            self._note(context)
        await self._keep_exchange(context, reply)
        tokens = context.tokens + reply.reply_tokens
        if self.summariser and context.tokens and is_due(tokens, context.asked.budget, self.options.summary.at):
            self.summariser.begin(reply.conversation_id, is_busy)

    async def erase_user(self, user: str) -> dict[str, int]:
        """Forget a user everywhere but in the history; return how much was forgotten, by store.

        Raises:
            StoreError: a store is away; what the others held is gone.
        """
        gone = {"profile": self.profiles.erase_user(user), "recall": self.recall.erase_user(user)}
        return {**gone, "sessions": await self.sessions.erase_user(user) if self.sessions else 0}

    async def stop(self) -> None:
        if self.summariser:
            await self.summariser.stop()

    async def _session(self, asked: Asked) -> Session | None:
        """Return the session of a conversation; that of a client which sends all of it only for its summary."""
        if self.sessions is None or asked.is_new:
            return None
        session = None
        with tolerated("sessions"):
            session = await self.sessions.load(asked.conversation)
        source = "store" if session else "none"
        if session is None and asked.goes_on:
            found = from_history(await to_thread.run_sync(self._history.conversation, asked.conversation))
            session = trimmed(found, self.options.session.turns) if found else None
            source = "history" if session else "none"
        metrics.SESSIONS.labels(source).inc()
        return session

    def _profile(self, asked: Asked) -> list[str]:
        if asked.user is None or not (self.options.profile.enabled and self.options.profile.in_prompt):
            return []
        with tolerated("profile"):
            return [blocks.profile_block(self.profiles.of(asked.user).lines())]
        return []

    async def _recalled(self, asked: Asked) -> list[str]:
        wanted = self.options.recall
        question = question_of(asked.prompt)
        if self._sentences is None or asked.user is None or not wanted.enabled or not question:
            return []
        with tolerated("recall"):
            vector = await self._sentences.vector(question)
            found = await to_thread.run_sync(
                self.recall.near, asked.user, asked.conversation, vector, wanted.results, wanted.cosine
            )
            metrics.RECALLED.inc(len(found))
            most = wanted.characters
            told = [
                f"On {one.created_at[:10]} the user asked: {blocks.line(one.question, most)} "
                f"The answer was: {blocks.line(one.answer, most)}"
                for one in found
            ]
            return [blocks.recall_block(told)]
        return []

    def _fitted(
        self, asked: Asked, session: Session | None, whole: Messages, first: int, notes: Sequence[str]
    ) -> Context:
        """Return the fullest prompt that fits: with all that is remembered, else the newest turns alone."""
        summary = session.summary if session else None
        messages, told = whole, [*notes]
        if self.options.summary.enabled and summary and stands(summary, whole, first):
            messages, told = uncovered(summary, whole, first), [*notes, blocks.summary_block(summary.text)]
        full = blocks.joined(asked.system, *told)
        if self._tokens is None:
            return Context(asked, messages, full, whole, first, 0)
        with tolerated("window", TemplateError):
            try:
                system, fitted = full, self._fit(self._tokens, asked, full, messages)
            except TooLongError:
                system, fitted = asked.system, self._fit_or_refuse(self._tokens, asked, whole)
            metrics.WINDOW_DROPPED.inc(fitted.dropped)
            room = asked.budget - fitted.tokens
            return Context(asked, fitted.messages, system, whole, first, fitted.whole_tokens, room)
        return Context(asked, messages, full, whole, first, 0)

    def _fit(self, tokens: PromptTokens, asked: Asked, system: str, messages: Messages) -> Fitted:
        return fit(messages, lambda some: tokens.count(with_system(system, some), asked.tools), asked.budget)

    def _fit_or_refuse(self, tokens: PromptTokens, asked: Asked, whole: Messages) -> Fitted:
        try:
            return self._fit(tokens, asked, asked.system, whole)
        except TooLongError as error:
            message = f"the message is too long for the model: {error}; {way_out(asked, whole)}"
            raise ApiError(400, message, "context_length_exceeded", "messages") from None

    async def _keep_turns(self, context: Context, reply: Reply) -> None:
        if self.sessions is None:
            return
        known = await self.sessions.load(reply.conversation_id) if reply.replaces else None
        session = continued(known, context.whole, context.first, reply)
        if session is None and known is not None:  # only the history knows what stands after a try at an older one
            session = from_history(await to_thread.run_sync(self._history.conversation, reply.conversation_id))
        if session:
            await self.sessions.keep(reply.conversation_id, session)

    def _note(self, context: Context) -> None:
        wanted, user = self.options.profile, context.asked.user
        if user is None or not wanted.enabled or asked_at(context.whole) != len(context.whole) - 1:
            return  # what came last are results of calls, which state nothing of the user
        said = statements(context.whole[-1]["content"], wanted.characters)
        if said:
            with tolerated("profile"):
                self.profiles.add(user, said)
                for statement in said:
                    metrics.PROFILE.labels(statement.kind).inc()

    async def _keep_exchange(self, context: Context, reply: Reply) -> None:
        if self._sentences is None or context.asked.user is None or not self.options.recall.enabled or not reply.reply:
            return
        with tolerated("recall"):
            question = question_of(context.whole)
            vector = await self._sentences.vector(question)
            await to_thread.run_sync(self.recall.add, reply, question, vector)


def way_out(asked: Asked, whole: Messages) -> str:
    """Return what whoever asked too much may do: a turn stays whole, with all calls of tools and their results."""
    if rounds := sum("tool_calls" in message for message in turns_of(whole)[-1]):
        return f"shorten the results of its {rounds} rounds of tool calls, or go on in a new message of the user's"
    return "shorten it, or offer fewer tools" if asked.tools else "shorten it"
