"""A judge's session: grades first, then pairs batch by batch, until the answer is known or all is asked.

Where it ends is a function of the verdicts and of the order of the questions alone, never of time or of load.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from eval import sequential
from eval.judge import Ask, Judge, Usage
from eval.mt_bench import win_rates
from eval.plan import Item, Row, settle
from thumbwheel.params import Params

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 60.0


class VerdictParams(Params):
    """How verdicts are asked for, and when one that was given counts.

    `max_length` is of a question and its verdict, in tokens, where the judge is a local engine. A verdict is looked for
    in the first `verdict_tokens` of an answer, and counts if all verdicts together have a probability of `min_mass`.
    """

    min_mass: float = Field(ge=0, le=1)
    verdict_tokens: int = Field(ge=1)
    max_length: int = Field(ge=1)
    concurrency: int = Field(ge=1)
    retries: int = Field(ge=0)
    pause_seconds: float = Field(ge=0)
    """Before the first retry."""
    timeout_seconds: float = Field(gt=0)
    """Of a whole reply, however slowly it comes."""


class SequentialParams(Params):
    """When pairwise judging ends: once a win rate over one half, or below it by `margin`, is known at `alpha`.

    `alpha` is the gate's over its number of superiority criteria, so that what stops the judging also stands there.
    """

    alpha: float = Field(gt=0, lt=0.5)
    margin: float = Field(ge=0, lt=0.5)
    batch: int = Field(ge=1)
    """Questions between two looks."""
    min_questions: int = Field(ge=1)


@dataclass(frozen=True)
class Work:
    """All that is wanted of the judge: `pairs` a list a question, in the order of judging; `others` the rest."""

    pairs: list[list[Item]]
    others: list[Item]

    @property
    def asks(self) -> list[Ask]:
        return [item.ask for item in (*(item for group in self.pairs for item in group), *self.others) if item.ask]


@dataclass(frozen=True)
class Session:
    """What came of it: the finished rows, how far pairwise judging went, and what it cost."""

    rows: list[dict[str, Any]]
    judged_questions: int
    answer: sequential.Answer | None
    usage: Usage
    calls: int

    @property
    def cost(self) -> Mapping[str, int]:
        return asdict(self.usage)


async def hear(judge: Judge, work: Work, tie_margin: float, rules: SequentialParams | None) -> Session:
    """Ask for grades and trial at once, then pairwise, batch by batch; without `rules` all pairs are one batch."""
    tick = progress(len(set(work.asks)), judge)
    others = await rulings(judge, work.others, tie_margin, tick)
    answer: sequential.Answer | None = None
    pairs: list[dict[str, Any]] = []
    size, asked = rules.batch if rules else max(1, len(work.pairs)), 0
    while asked < len(work.pairs) and answer is None:
        batch = work.pairs[asked : asked + size]
        pairs += await rulings(judge, [item for group in batch for item in group], tie_margin, tick)
        asked += len(batch)
        answer = known(pairs, rules) if rules else None
    return Session(pairs + others, asked, answer, judge.usage, judge.calls)


async def rulings(
    judge: Judge, items: Sequence[Item], tie_margin: float, tick: Callable[[int], None]
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the finished rows of these items."""
    asks = [item.ask for item in items if item.ask]
    said = dict(zip(asks, await judge.rule(asks, tick), strict=True))
    return [settle(item, said[item.ask] if item.ask else None, judge.identity, tie_margin) for item in items]


def known(pairs: Sequence[Row], rules: SequentialParams) -> sequential.Answer | None:
    """Return what is known of the win rate that these rows give, or None."""
    return decided([rate for rate in win_rates(pairs).values() if rate is not None], rules)


def decided(points: Sequence[float], rules: SequentialParams) -> sequential.Answer | None:
    """Return whether the win rate is above a half, or below it by the margin, as far as that is known; else None."""
    if len(points) < rules.min_questions:
        return None
    if sequential.p_above(points, 0.5) <= rules.alpha:
        return "above"
    return "below" if sequential.p_below(points, 0.5 - rules.margin) <= rules.alpha else None


def progress(total: int, judge: Judge) -> Callable[[int], None]:
    """Return a function that counts replies and logs a line a minute."""
    began = last = time.monotonic()
    seen = 0

    def tick(_: int) -> None:
        nonlocal last, seen
        seen += 1
        now = time.monotonic()
        if judge.url and (seen == total or now - last >= PROGRESS_SECONDS):
            last = now
            rate = seen / max(now - began, 1e-9)
            log.info("%d of %d verdicts, %d calls, %.1f a second", seen, total, judge.calls, rate)

    return tick
