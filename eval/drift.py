"""Whether a served release still answers as it did at its promotion: the same questions, asked week after week.

A watch that looks for years must not cry wolf. Each look gives each criterion an e-value, the capital of a gambler
against "no worse than its margin" (`eval.sequential`). It cannot be expected above 1: the growth by each answer is
above nought and in the mean over the questions 1 at most, and the mean of a product of independent numbers is the
product of their means, which is largest where these are equal. So it holds for a fixed set of questions, each with a
mean of its own.

Looks depend on each other, for they ask the same. So their e-values are not multiplied but added, with weights
1 / (v (v + 1)) that come to 1 over all time. That sum cannot be expected above 1 either, whatever the dependence (Vovk
and Wang, 2021, arXiv:1912.06116); it never falls, and by Markov's inequality it ever reaches K / alpha with probability
alpha / K at most. With K claims that is alpha for one release, over all its weeks. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from eval.refusals import is_refusal
from eval.replies import goes_in_circles, has_marks
from eval.sequential import capital, p_below
from thumbwheel.params import Params

FILTERED = "content_filter"
"""How an answer ends that the service itself refused."""
SLOWER, GRACE = 2.0, 0.5
"""An answer is slower that took so many times as long, and so many seconds more."""

Outcome = Literal["drift", "none", "inconclusive"]


@dataclass(frozen=True)
class Reply:
    """An answer of the service. `is_right` tells whether it holds what is demanded, None where nothing is."""

    text: str
    finish: str
    sources: tuple[str, ...]
    seconds: float
    is_right: bool | None = None


Pair = tuple[Reply, Reply]
"""The answer at the promotion, and today's, to the same question."""


@dataclass(frozen=True)
class Measure:
    """What is seen of a pair. `of` gives a share's 0 or 1, or a change in [-1, 1]; None where it does not apply."""

    of: Callable[[Reply, Reply], float | None]
    title: str
    is_share: bool = False
    falls_too: bool = False
    """Whether a fall is as bad as a rise."""


def _rise(has: Callable[[Reply], bool]) -> Callable[[Reply, Reply], float]:
    return lambda before, now: float(has(now)) - float(has(before))


def _rightness(before: Reply, now: Reply) -> float | None:
    return None if before.is_right is None or now.is_right is None else float(before.is_right) - float(now.is_right)


def _length(before: Reply, now: Reply) -> float:
    """Return by how many doublings an answer has grown, at most one."""
    return max(-1.0, min(1.0, math.log2((len(now.text) + 1) / (len(before.text) + 1))))


def distinct_pairs(text: str) -> float:
    """Return the share of different pairs of neighbouring words; 1 for a text without any."""
    pairs = list(pairwise(re.findall(r"\w+", text.casefold())))
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def declines(reply: Reply) -> bool:
    return reply.finish == FILTERED or is_refusal(reply.text)


MEASURES: Mapping[str, Measure] = {
    "changed": Measure(lambda a, b: float(a.text != b.text), "answers that are other words", is_share=True),
    "sources": Measure(lambda a, b: float(a.sources != b.sources), "answers that cite other documents", is_share=True),
    "slower": Measure(
        lambda a, b: float(b.seconds > SLOWER * a.seconds + GRACE), "answers that took twice as long", is_share=True
    ),
    "length": Measure(_length, "length, in doublings", falls_too=True),
    "refused": Measure(_rise(declines), "refusals", falls_too=True),
    "wrong": Measure(_rightness, "answers that lack what is demanded"),
    "circling": Measure(_rise(lambda r: goes_in_circles(r.text)), "answers that go in circles"),
    "marked": Measure(_rise(lambda r: has_marks(r.text)), "answers with a template's marks"),
    "repetitive": Measure(lambda a, b: distinct_pairs(a.text) - distinct_pairs(b.text), "repeated pairs of words"),
}
FAILED = "failed"
"""The share of questions that got no answer; a criterion like the others."""


class Criterion(Params):
    """A measure and how far it may move: a share of answers, or a mean change."""

    measure: str
    margin: float = Field(gt=0, lt=1)

    @field_validator("measure")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in MEASURES and value != FAILED:
            raise ValueError(f"unknown measure '{value}' (known: {', '.join([*MEASURES, FAILED])})")
        return value


@dataclass(frozen=True)
class Claim:
    """That a margin is kept in one direction: the mean of `values`, in [0, 1], is `null` at most."""

    name: str
    criterion: Criterion
    values: tuple[float, ...]
    null: float

    @property
    def mean(self) -> float | None:
        """Return the mean in the measure's own unit: a share, or a change in this direction."""
        if not self.values:
            return None
        mean = math.fsum(self.values) / len(self.values)
        return mean if self.null == self.criterion.margin else 2 * mean - 1

    @property
    def e_value(self) -> float:
        """Return this look's evidence of a move beyond the margin; 1 where nothing was measured."""
        return float(capital(self.values, self.null)[-1]) if self.values else 1.0

    def is_kept(self, alpha: float) -> bool:
        """Tell whether this look shows that the margin is kept."""
        return bool(self.values) and p_below(self.values, self.null) <= alpha


@dataclass(frozen=True)
class Line:
    """What is known of a claim after all looks."""

    claim: Claim
    evidence: float
    needed: float
    outcome: Outcome


def claims(pairs: Sequence[Pair | None], criteria: Sequence[Criterion]) -> list[Claim]:
    """Return what one look at all questions says of each criterion; None stands for one without an answer today."""
    answered = [pair for pair in pairs if pair is not None]
    found: list[Claim] = []
    for criterion in criteria:
        name, margin = criterion.measure, criterion.margin
        if name == FAILED:
            found.append(Claim(name, criterion, tuple(float(pair is None) for pair in pairs), margin))
            continue
        measure = MEASURES[name]
        seen = [value for pair in answered if (value := measure.of(*pair)) is not None]
        if measure.is_share:
            found.append(Claim(name, criterion, tuple(seen), margin))
            continue
        found.append(Claim(name, criterion, tuple((value + 1) / 2 for value in seen), (1 + margin) / 2))
        if measure.falls_too:
            falls = tuple((1 - value) / 2 for value in seen)
            found.append(Claim(f"{name}, fallen", criterion, falls, (1 + margin) / 2))
    return found


def weight(number: int) -> float:
    """Return the weight of the look of that number, from 1; all of them together come to 1."""
    return 1 / (number * (number + 1))


def evidence(e_values: Sequence[float]) -> float:
    """Return what all looks so far say together, in their order; it may be looked at after every one."""
    return math.fsum(weight(number) * value for number, value in enumerate(e_values, start=1))


def judge(made: Sequence[Claim], earlier: Sequence[Mapping[str, float]], alpha: float) -> list[Line]:
    """Return a line for each claim, from this look and the e-values of the earlier ones by the claims' names."""
    needed = len(made) / alpha
    lines = []
    for claim in made:
        found = evidence([*(before.get(claim.name, 1.0) for before in earlier), claim.e_value])
        outcome: Outcome = "drift" if found >= needed else "none" if claim.is_kept(alpha) else "inconclusive"
        lines.append(Line(claim, found, needed, outcome))
    return lines


def overall(lines: Sequence[Line]) -> Outcome:
    """Return the outcome of a look: drift where any is shown, none where every margin is shown to be kept."""
    outcomes = {line.outcome for line in lines}
    return "drift" if "drift" in outcomes else "inconclusive" if "inconclusive" in outcomes else "none"
