"""A moderation model behind an OpenAI-compatible chat API, asked while a user waits (`thumbwheel.moderation.wire`)."""

from __future__ import annotations

import logging
import re

import httpx

from serving import metrics
from serving.breaker import Breaker
from serving.guard.options import EndpointOptions
from serving.history import Messages
from serving.options import BreakerOptions
from serving.tools.results import as_dialogue
from thumbwheel.moderation import wire
from thumbwheel.settings import settings

logger = logging.getLogger(__name__)

AWAY = "moderation_away"
"""The rule of a refusal for want of a verdict."""


class Endpoint:
    """The client; a failed or unreadable answer leaves the endpoint alone for a rest."""

    def __init__(self, options: EndpointOptions) -> None:
        self.options = options
        self._breaker = Breaker(BreakerOptions(failures=1, rest_seconds=options.rest_seconds))
        key = settings().moderation_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._client = httpx.AsyncClient(timeout=options.seconds, headers=headers, trust_env=False)

    async def rule(self, messages: Messages) -> str | None:
        """Return the rule that the last message breaks, None for none; `AWAY` where nobody can tell and it matters."""
        answer = await self._ask(messages) if self._breaker.allows() else None
        metrics.DEGRADED.labels("moderation").set(answer is None)
        if answer is None:
            metrics.MODERATION_AWAY.labels(self.options.when_away).inc()
            return AWAY if self.options.when_away == "closed" else None
        return rule_of(answer)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, messages: Messages) -> re.Match[str] | None:
        body = wire.question(self.options.model, as_dialogue(messages))
        try:
            response = await self._client.post(wire.address(self.options.url), json=body)
            answer = wire.answer_of(response.raise_for_status().json())
        except (httpx.HTTPError, *wire.UNREADABLE) as error:
            logger.warning("the moderation endpoint gave no verdict: %r", error)
            answer = None
        if answer is None:
            self._breaker.failed()
        else:
            self._breaker.succeeded()
        return answer


def rule_of(answer: re.Match[str]) -> str | None:
    """Return the rule that an answer names: `moderation` and the first category, None for a safe text."""
    if wire.is_safe(answer):
        return None
    return f"moderation_{answer.group(2).upper()}" if answer.group(2) else "moderation"
