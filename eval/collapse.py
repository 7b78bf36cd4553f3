"""Whether a model under training is falling apart: what it says now, held against what its reference says.

A loss can fall while the model forgets how to speak: preference losses push both answers' likelihood down, and a model
that repeats one sentence, or refuses everything, still ranks pairs. So what it generates is looked at too. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from eval.refusals import is_refusal
from thumbwheel.circles import repeated
from thumbwheel.params import Params

GRAM = 4
"""Tokens of a run that counts as repeated where it comes again within one reply."""


class CollapseLimits(Params):
    """How far a model may move from its reference; each limit is of a difference or a ratio to it."""

    max_kl: float
    """Nats a token, over what the model itself says."""
    max_lost: float
    """Nats a token that held-out chosen replies may lose in likelihood."""
    length: tuple[float, float]
    """Bounds of its replies' length, as a multiple of the reference's."""
    min_distinct: float
    """Share of the reference's distinct pairs of tokens that must stay."""
    max_repetition: float
    """Rise of the share of tokens that stand in a repeated run."""
    max_refusals: float
    """Rise of the share of prompts that are refused."""


@dataclass(frozen=True)
class Vitals:
    """What a model says to fixed prompts. `kl` and `chosen` are nats a token; `length` tokens; the rest shares.

    `distinct`: different pairs of neighbouring tokens, of all pairs. `repetition`: tokens in a run of four that comes
    again. `kl` is 0 of the reference itself.
    """

    kl: float
    chosen: float
    length: float
    distinct: float
    repetition: float
    refusals: float


def vitals(kl: float, chosen: float, replies: Sequence[Sequence[int]], texts: Sequence[str]) -> Vitals:
    """Return the vitals of a model by its replies, as tokens and as text, to the same prompts."""
    pairs = [pair for reply in replies for pair in pairwise(reply)]
    tokens = sum(map(len, replies))
    return Vitals(
        kl=kl,
        chosen=chosen,
        length=tokens / len(replies),
        distinct=len(set(pairs)) / len(pairs) if pairs else 0.0,
        repetition=sum(repeated(reply, GRAM) for reply in replies) / tokens if tokens else 0.0,
        refusals=sum(map(is_refusal, texts)) / len(texts),
    )


def collapse(now: Vitals, reference: Vitals, limits: CollapseLimits) -> str | None:
    """Return in what way a model has collapsed, or None where it is well."""
    if broken := [name for name, value in asdict(now).items() if not math.isfinite(value)]:
        return f"{', '.join(broken)} is not a number"
    faults = []
    if now.kl > limits.max_kl:
        faults.append(f"it is {now.kl:.2f} nats a token from its reference (at most {limits.max_kl:g})")
    if (lost := reference.chosen - now.chosen) > limits.max_lost:
        faults.append(f"chosen replies lost {lost:.2f} nats a token (at most {limits.max_lost:g})")
    ratio = now.length / reference.length if reference.length else 1.0
    if not limits.length[0] <= ratio <= limits.length[1]:
        least, most = limits.length
        faults.append(f"its replies are {ratio:.2f} times as long as the reference's ({least:g} to {most:g})")
    if now.distinct < limits.min_distinct * reference.distinct:
        faults.append(f"distinct pairs of tokens fell from {reference.distinct:.0%} to {now.distinct:.0%}")
    if now.repetition - reference.repetition > limits.max_repetition:
        faults.append(f"repeated runs rose from {reference.repetition:.0%} to {now.repetition:.0%} of its tokens")
    if now.refusals - reference.refusals > limits.max_refusals:
        faults.append(f"refusals rose from {reference.refusals:.0%} to {now.refusals:.0%}")
    return "; ".join(faults) or None


def as_facts(now: Vitals, reference: Vitals) -> Mapping[str, float]:
    """Return the vitals for a report, rounded, with those of the reference beside them."""
    facts = {f"replies_{name}": round(value, 6) for name, value in asdict(now).items() if name not in ("kl", "chosen")}
    before = {f"replies_{name}_reference": round(getattr(reference, name), 6) for name in ("length", "distinct")}
    return {"kl": round(now.kl, 6), "chosen_gain": round(now.chosen - reference.chosen, 6)} | facts | before
