"""From what a user said to the chunks that may answer it; what fails here costs the documents, never the answer."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import anyio

from serving import metrics
from serving.breaker import Breaker
from serving.history import Messages, question_of
from serving.options import RetrievalOptions
from serving.retrieval.rerank import Reranker
from serving.retrieval.rewrite import Ask, simpler_questions, supposed_answer
from serving.retrieval.sources import LEAST_CONTEXT, asks, document_text, grounded
from serving.retrieval.store import Hit, Query, Retriever
from serving.sentences import Sentences

logger = logging.getLogger(__name__)

QUESTION_CHARACTERS = 1000
"""Of a message that are searched by; the sentence model reads no more of it anyway."""
THREADS = 4
"""Searches at once; where all of them hang, further ones run out of time without a thread."""

T = TypeVar("T")


@dataclass(frozen=True)
class Helpers:
    """What retrieval may use beside its store; None for what is switched off."""

    ask: Ask | None = None
    reranker: Reranker | None = None


@dataclass(frozen=True)
class Grounding:
    """A conversation with its documents: `retrieved` is what the history keeps of them, None where there are none.

    `answer` stands for the engine's where nothing is known.
    """

    messages: Messages
    retrieved: dict[str, Any] | None = None
    answer: str | None = None

    @property
    def count(self) -> int:
        """Return how many documents stand in the conversation."""
        return len(self.retrieved["sources"]) if self.retrieved else 0


class Retrieval:
    """Finds documents for one release."""

    def __init__(
        self, options: RetrievalOptions, store: Retriever, meanings: Sentences, breaker: Breaker, helpers: Helpers
    ) -> None:
        self.options = options
        self._store, self._sentences, self._breaker, self._helpers = store, meanings, breaker, helpers
        self._threads = anyio.CapacityLimiter(THREADS)

    def warm(self) -> None:
        """Load the model and fill the store in a thread, so that the first question need not wait for it."""
        threading.Thread(target=self._warm, name="retrieval", daemon=True).start()

    async def find(self, said: Sequence[str], tenants: Sequence[str]) -> list[Hit] | None:
        """Return the relevant chunks for the last of a user's messages, best first; None where none could be sought."""
        if not self._breaker.allows():
            metrics.RETRIEVALS.labels("failed").inc()
            return None
        began = time.monotonic()
        try:
            hits = await self._find(said, tenants)
        except Exception as error:
            self._failed(error)
            return None
        self._breaker.succeeded()
        metrics.DEGRADED.labels("retrieval").set(0)
        metrics.RETRIEVAL_SECONDS.observe(time.monotonic() - began)
        metrics.RETRIEVALS.labels("found" if hits else "nothing").inc()
        return hits

    async def ground(
        self, messages: Messages, tenants: Sequence[str], room: int, clean: Callable[[str], str]
    ) -> Grounding:
        """Return what the documents make of a conversation; `room` is the characters that fit into the prompt.

        `clean` takes out of a document's text what must not stand there.
        """
        plain, characters = Grounding(messages), min(room, self.options.context_characters)
        said = [message["content"] for message in messages if message["role"] == "user"]
        if characters < LEAST_CONTEXT or not said:
            return plain
        hits = await self.find(said, tenants)
        if hits:
            cleaned = [replace(hit, title=clean(hit.title), text=clean(hit.text)) for hit in hits]
            filled, sources = grounded(messages, cleaned, characters)
            return Grounding(filled, {"question": question_of(messages), "sources": sources})
        is_unknown = hits is not None and self.options.nothing_relevant == "say" and asks(said[-1])
        return Grounding(messages, answer=self.options.unknown) if is_unknown else plain

    async def close(self) -> None:
        if self._helpers.reranker:
            await self._helpers.reranker.close()
        await anyio.to_thread.run_sync(self._store.close)

    async def _find(self, said: Sequence[str], tenants: Sequence[str]) -> list[Hit]:
        question = said[-1][:QUESTION_CHARACTERS]
        texts = [question, *([f"{said[-2]}\n{question}"[-QUESTION_CHARACTERS:]] if len(said) > 1 else [])]
        texts += await self._simpler(question)
        guesses = await self._guesses(question)
        async with asyncio.timeout(self.options.seconds):
            query = Query(tuple(texts), await self._sentences.vectors([*texts, *guesses]), len(texts))
            hits = await anyio.to_thread.run_sync(
                self._search, query, tenants, limiter=self._threads, abandon_on_cancel=True
            )
        relevant = [hit for hit in hits if hit.cosine >= self.options.floor]
        return (await self._reranked(question, relevant))[: self.options.chunks]

    def _search(self, query: Query, tenants: Sequence[str]) -> list[Hit]:
        return self._store.search(query, tenants, self.options.candidates)

    async def _simpler(self, question: str) -> list[str]:
        if not self.options.decompose or self._helpers.ask is None:
            return []
        work = simpler_questions(question, self.options.decompose, self._helpers.ask, self.options.rewrite_tokens)
        return await self._optional("decompose", work, [])

    async def _guesses(self, question: str) -> list[str]:
        if not self.options.hyde or self._helpers.ask is None:
            return []
        guess = await self._optional(
            "hyde", supposed_answer(question, self._helpers.ask, self.options.rewrite_tokens), ""
        )
        return [guess] if guess else []

    async def _reranked(self, question: str, hits: list[Hit]) -> list[Hit]:
        if self._helpers.reranker is None or not hits:
            return hits
        work = self._helpers.reranker.order(question, [document_text(hit) for hit in hits])
        return [hits[place] for place in await self._optional("rerank", work, list(range(len(hits))))]

    async def _optional(self, part: str, work: Awaitable[T], without: T) -> T:
        """Return what `work` gives, or `without` where it fails or takes too long."""
        try:
            async with asyncio.timeout(self.options.rewrite_seconds):
                return await work
        except Exception as error:
            metrics.RETRIEVAL_FAULTS.labels(part).inc()
            logger.warning("retrieval does without '%s': %r", part, error)
            return without

    def _failed(self, error: Exception) -> None:
        self._breaker.failed()
        metrics.RETRIEVALS.labels("failed").inc()
        metrics.DEGRADED.labels("retrieval").set(1)
        logger.warning("no documents could be sought, the answer is plain: %r", error)

    def _warm(self) -> None:
        try:
            self._search(Query(("warm",), self._sentences.encode(["warm"]), 1), self.options.shared_tenants)
        except Exception as error:
            self._failed(error)
