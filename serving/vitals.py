"""What a reply shows of its model's health though nobody judges it: pace, length, circles, words without a source."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving import metrics
from serving.retrieval.sources import Source, words_of
from thumbwheel.circles import repeated

if TYPE_CHECKING:
    from serving.draft import Draft

RUN = 4
"""Words of a run that counts as repeated where it comes again within one reply, as for a model under training."""
WHOLE = ("stop", "length")
"""How a reply ends that the model ended."""


@dataclass
class Pace:
    """When the first words of a stream came from the engine, and its last."""

    first: float | None = None
    last: float = 0.0

    def words_came(self) -> None:
        self.last = time.monotonic()
        self.first = self.last if self.first is None else self.first

    def between(self, tokens: int) -> float | None:
        """Return the seconds from one token to the next on average; None where all of them came at once."""
        if self.first is None or self.last == self.first or tokens < 2:
            return None
        return (self.last - self.first) / (tokens - 1)


def repetition(text: str) -> float:
    """Return the share of a text's words that stand in a run of `RUN` which comes more than once."""
    words = text.split()
    return repeated(words, RUN) / len(words) if words else 0.0


def groundedness(text: str, sources: Sequence[Source]) -> float | None:
    """Return the share of a reply's words that stand in one of its documents; None where it has none that could."""
    words = words_of(text)
    known = {word for source in sources for word in source["words"]}
    return len(words & known) / len(words) if words else None


def tally(draft: Draft) -> None:
    """Count a reply, once it has ended, however it ended."""
    labels = draft.model, draft.arm
    metrics.REPLIES.labels(draft.finish, *labels).inc()
    if draft.verdict:
        metrics.GUARDED.labels(draft.verdict.layer, *labels).inc()
    if draft.is_cached:
        return
    metrics.TOKENS.labels("prompt", *labels).inc(draft.prompt_tokens)
    metrics.TOKENS.labels("reply", *labels).inc(draft.reply_tokens)
    if (seconds := draft.pace.between(draft.reply_tokens)) is not None:
        metrics.TOKEN_SECONDS.labels(*labels).observe(seconds)
    if draft.reply_tokens and draft.text and draft.finish in WHOLE:
        _observe(draft)


def _observe(draft: Draft) -> None:
    """Take a reply's measures; only of what the model ended itself, for half a reply is short and says little."""
    labels = draft.model, draft.arm
    metrics.REPLY_TOKENS.labels(*labels).observe(draft.reply_tokens)
    metrics.REPETITION.labels(*labels).observe(repetition(draft.text))
    grounded = groundedness(draft.text, draft.retrieved["sources"]) if draft.retrieved else None
    if grounded is not None:
        metrics.GROUNDEDNESS.labels(*labels).observe(grounded)
