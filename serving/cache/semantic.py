"""The semantic cache: an answer is given again to a question that means and says the same, within its partition."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from serving import metrics
from serving.breaker import Breaker
from serving.cache.answers import Answer, Answers, ProcessAnswers, RedisAnswers, text_tag, user_tag
from serving.cache.literals import agree, literals, plain
from serving.cache.partition import Partition
from serving.options import CacheOptions, Options
from serving.redis_link import redis_link
from serving.sentences import Sentences, sentences
from serving.tolerance import tolerated

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

MOST_TRIED = 20
"""Near questions whose words are compared, nearest first."""


@dataclass(frozen=True)
class Lookup:
    """A question looked up: the answer where there is one, and what is needed to keep one where there is none."""

    partition: str
    question: str
    vector: np.ndarray | None
    answer: Answer | None
    reason: str


class SemanticCache:
    """Looks questions up, keeps answers, and purges them."""

    def __init__(self, options: CacheOptions, answers: Answers, meanings: Sentences) -> None:
        self.options, self._answers, self._sentences = options, answers, meanings

    async def look(self, partition: Partition, question: str) -> Lookup:
        """Return what the cache has for a question; without its backends, nothing."""
        began = time.perf_counter()
        found = Lookup(partition.key, question, None, None, "away")
        with tolerated("cache"):
            vector = await self._sentences.vector_of_whole(plain(question))
            found = Lookup(partition.key, question, vector, *await self._answer(partition.key, question, vector))
        metrics.CACHE.labels("hit" if found.answer else "miss", found.reason).inc()
        metrics.CACHE_SECONDS.observe(time.perf_counter() - began)
        return found

    async def keep(self, lookup: Lookup, answer: Answer) -> None:
        """Keep the answer to a question that was looked up in vain."""
        if lookup.vector is not None and lookup.answer is None:
            with tolerated("cache"):
                await self._answers.add(lookup.partition, lookup.vector, answer)

    async def disliked(self, event: Mapping[str, Any]) -> None:
        """Purge every copy of the reply that a feedback event turns down or corrects."""
        if event["rating"] == "down" or event["correction"] is not None:
            with tolerated("cache"):
                await self._answers.purge(text_tag(event["model"], event["reply"]))

    async def promoted(self, model: str) -> None:
        """Purge the answers of every model but the one that is served now."""
        with tolerated("cache"):
            gone = await self._answers.purge_other_models(model)
            logger.info("the semantic cache let %d answers of other models go", gone)

    async def erase_user(self, user: str) -> int:
        """Purge the answers to a user's questions; return how many there were.

        Raises:
            StoreError: the store is away.
        """
        return await self._answers.purge(user_tag(user))

    async def _answer(self, partition: str, question: str, vector: np.ndarray | None) -> tuple[Answer | None, str]:
        if vector is None:
            return None, "long"
        await self._answers.refresh()
        reason, wanted = "new", literals(question)
        nearest = islice(self._answers.index.near(partition, vector, self.options.cosine), MOST_TRIED)
        for name, _ in [*nearest]:
            kept = await self._answers.question(name)
            if kept is None or not agree(wanted, literals(kept)):
                reason = "words"
            elif (answer := await self._answers.get(name)) is not None:
                return answer, "near"
        return None, reason


def make_cache(options: Options) -> SemanticCache | None:
    """Return the semantic cache that the options ask for, or None where it is off.

    Raises:
        SettingsError: it is to be in Redis, and no Redis is named.
    """
    wanted = options.cache
    if not wanted.enabled:
        return None
    answers: Answers = ProcessAnswers(wanted.entries, wanted.ttl_seconds)
    if wanted.store == "redis":
        link = redis_link("cache", Breaker(options.breaker))
        answers = RedisAnswers(link, wanted.entries, wanted.ttl_seconds)
    return SemanticCache(wanted, answers, sentences(options.sentences))
