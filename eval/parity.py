"""Whether the bundle under the engine is the model that was trained: what differs, how much, and which part is wrong.

A reading holds what both say of the same answer tokens. Top-1 agreement and divergence tell that something differs; the
scale at which each adapter is present in the bundle tells what: 1 is right, 0 an adapter that was not merged, 2 one
that was merged twice or with the wrong alpha. Pure: arrays in, numbers out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from thumbwheel.params import Params

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Reading:
    """One conversation's n answer tokens under both models.

    `trained_top` and `served_top`: each one's likeliest token, (n,). `trained_shares` and `served_shares`:
    log-probabilities, in nats, of the served model's k likeliest tokens, (n, k).
    """

    trained_top: Ints
    served_top: Ints
    trained_shares: Floats
    served_shares: Floats


@dataclass(frozen=True)
class Step:
    """What the served model says beyond the trained one with its adapters at some scales, of one conversation.

    `gap`: served less trained log-probability of each answer token, (n,). `slopes`: how the trained one grows with each
    adapter's scale there, nats a unit, (n, adapters).
    """

    gap: Floats
    slopes: Floats


@dataclass(frozen=True)
class Scale:
    """At which scale an adapter is present, with a bootstrap interval; `told` is False where the noise hides it."""

    value: float
    low: float
    high: float
    told: bool


class ParityLimits(Params):
    """What the bundle must keep to: least top-1 agreement, greatest divergence in nats a token, scales of adapters."""

    min_top1: float = Field(ge=0, le=1)
    max_divergence: float = Field(ge=0)
    scale: tuple[float, float]


@dataclass(frozen=True)
class Parity:
    """What was found. `answers_equal` and `answers_prefix` are shares of greedy answers and of their leading tokens."""

    conversations: int
    tokens: int
    top1: float
    divergence: float
    scales: Mapping[str, Scale | None]
    """None for an adapter that changes nothing, whose scale says nothing."""
    answers_equal: float | None
    answers_prefix: float | None
    prompts_changed: Sequence[str]
    """Conversations that the engine's template and tokenizer turn into other tokens than training did."""
    files_changed: Sequence[str]
    """Files of tokenizer, template and generation settings that are not those of the base model."""


def top1(readings: Sequence[Reading]) -> float:
    """Return the share of tokens on which both models have the same likeliest token."""
    return float(np.mean(np.concatenate([one.trained_top == one.served_top for one in readings])))


def divergence(readings: Sequence[Reading]) -> float:
    """Return the mean Kullback-Leibler divergence of served from trained, in nats a token.

    It is taken over the served model's k likeliest tokens and all others as one, so it is a lower bound of the whole.
    """
    return float(np.mean(np.concatenate([_divergences(one) for one in readings])))


def _divergences(reading: Reading) -> Floats:
    def with_rest(logs: Floats) -> Floats:
        shares = np.exp(logs)
        return np.hstack([shares, np.clip(1.0 - shares.sum(axis=1, keepdims=True), 1e-9, None)])

    p, q = with_rest(reading.trained_shares), with_rest(reading.served_shares)
    return np.asarray(np.sum(p * (np.log(np.clip(p, 1e-12, None)) - np.log(np.clip(q, 1e-12, None))), axis=1))


def scales(
    steps: Sequence[Step],
    at: Mapping[str, float],
    limits: ParityLimits,
    rng: np.random.Generator,
    resamples: int,
) -> dict[str, Scale | None]:
    """Return the scale of each adapter by one step of Gauss and Newton from those in `at`, by name in slope order.

    Intervals resample whole conversations. Quantization adds noise that is not along the slopes; where an interval
    becomes wider than the limits are apart, the scale cannot be told.
    """
    names = list(at)
    moving = [i for i in range(len(names)) if any(np.any(one.slopes[:, i]) for one in steps)]
    found: dict[str, Scale | None] = dict.fromkeys(names)
    if not moving:
        return found
    grams = np.stack([one.slopes[:, moving].T @ one.slopes[:, moving] for one in steps])
    moments = np.stack([one.slopes[:, moving].T @ one.gap for one in steps])
    start = np.array([at[names[i]] for i in moving])
    picked = rng.integers(len(steps), size=(resamples, len(steps)))
    drawn = np.stack([start + _solve(grams[i].sum(axis=0), moments[i].sum(axis=0)) for i in picked])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    value = start + _solve(grams.sum(axis=0), moments.sum(axis=0))
    widest = limits.scale[1] - limits.scale[0]
    for place, index in enumerate(moving):
        told = bool(high[place] - low[place] <= widest)
        found[names[index]] = Scale(float(value[place]), float(low[place]), float(high[place]), told)
    return found


def _solve(gram: Floats, moment: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(gram, moment, rcond=None)[0])


def agreement(trained: Sequence[Sequence[int]], served: Sequence[Sequence[int]]) -> tuple[float, float] | None:
    """Return the share of greedy answers that are equal, and the mean share of leading tokens that are."""
    if not trained:
        return None
    prefixes = [_prefix(one, other) for one, other in zip(trained, served, strict=True)]
    equal = [list(one) == list(other) for one, other in zip(trained, served, strict=True)]
    return float(np.mean(equal)), float(np.mean(prefixes))


def _prefix(one: Sequence[int], other: Sequence[int]) -> float:
    longest = max(len(one), len(other))
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return same / longest if longest else 1.0


def faults(found: Parity, limits: ParityLimits) -> list[str]:
    """Return what is wrong with the bundle, in words, the most telling first; none where it is the trained model."""
    wrong = [f"{name} is not the base model's" for name in found.files_changed]
    if found.prompts_changed:
        wrong.append(
            f"the engine turns {len(found.prompts_changed)} of {found.conversations} prompts into other tokens"
        )
    least, most = limits.scale
    for name, scale in found.scales.items():
        if scale is not None and scale.told and not least <= scale.value <= most:
            wrong.append(f"adapter {name} is present at {scale.value:.2f} of its scale ({_why(scale.value)})")
    if found.top1 < limits.min_top1:
        wrong.append(f"top-1 agreement is {found.top1:.1%} (at least {limits.min_top1:.0%})")
    if found.divergence > limits.max_divergence:
        wrong.append(f"divergence is {found.divergence:.3f} nats a token (at most {limits.max_divergence:g})")
    return wrong


def _why(scale: float) -> str:
    return "it was not merged, or only in part" if scale < 1 else "it was merged more than once, or with another alpha"


def as_json(found: Parity, limits: ParityLimits) -> dict[str, Any]:
    """Return what was found as it stands in `parity.json`, rounded to six digits."""
    told = {
        name: None
        if scale is None
        else {"value": _round(scale.value), "low": _round(scale.low), "high": _round(scale.high), "told": scale.told}
        for name, scale in found.scales.items()
    }
    return {
        "conversations": found.conversations,
        "tokens": found.tokens,
        "top1": _round(found.top1),
        "divergence": _round(found.divergence),
        "scales": told,
        "answers_equal": _round(found.answers_equal),
        "answers_prefix": _round(found.answers_prefix),
        "prompts_changed": list(found.prompts_changed),
        "files_changed": list(found.files_changed),
        "faults": faults(found, limits),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
