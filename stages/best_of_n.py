"""Best of N: fresh samples from the base model, of which one replaces a disliked reply if the judge clearly prefers it.

Used by `stages.pairs` for what no user and no reviewer has mended. A sample wins only if the judge prefers it in both
orders by the margin; a judge that wavers, or cannot be read, makes no pair.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from thumbwheel.bundle import bundle_hash
from thumbwheel.engine import running_engine
from thumbwheel.errors import EngineError
from thumbwheel.params import Params
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from eval.judge import Judge, Ruling

log = logging.getLogger(__name__)

NAME = "base"
REQUEST_SECONDS = 300
STREAMS = 32


class BestOfNParams(Params):
    """`samples` = 0 turns it off; `margin` is how far from a half, in each order, the judge's probability must be."""

    samples: int = Field(ge=0)
    margin: float = Field(ge=0, lt=0.5)
    max_events: int = Field(ge=1)
    temperature: float = Field(gt=0)
    max_tokens: int = Field(ge=1)
    max_length: int = Field(ge=64)
    min_mass: float = Field(ge=0, le=1)
    seed: int


@dataclass(frozen=True)
class Comparison:
    """Two replies to one prompt, in the order in which the judge sees them."""

    prompt: tuple[tuple[str, str], ...]
    first: str
    second: str


@dataclass(frozen=True)
class Resampled:
    """A better reply, or the named reason why there is none.

    Where none is better beyond doubt, `other` is the sample that came nearest, for people to compare; `doubt` says how
    little the judge could tell, from 0 to 1, which is where its verdict turned with the order or could not be read.
    """

    text: str | None = None
    reason: str = ""
    other: str | None = None
    doubt: float = 1.0


Sample = Callable[[Sequence[Mapping[str, Any]]], Awaitable[list[list[str]]]]
"""Fresh replies for each event's prompt."""
Prefer = Callable[[Sequence[Comparison]], Awaitable[list[float | None]]]
"""For each comparison the probability that the first is better; None where the judge gave no verdict."""


def resample(events: Sequence[Mapping[str, Any]], params: BestOfNParams) -> list[Resampled]:
    """Return, for each disliked event, a better reply or the reason for none; starts an engine if there is work.

    Raises:
        ModelError, EngineError: the base model is missing or cannot be served.
        JudgeError: the judge's endpoint cannot be reached.
    """
    if not params.samples:
        return [Resampled(reason="best_of_n_off")] * len(events)
    tried = events[: params.max_events]
    base, logs = settings().models / "base", settings().state_dir / "logs"
    with running_engine(base, NAME, params.max_length, logs / "pairs-engine.log") as url:
        judge = _judge(url, bundle_hash(base) if not settings().judge_url else "", params)
        found = asyncio.run(best_of(tried, _sampler(url, params), _preferrer(judge), params.margin))
    return found + [Resampled(reason="best_of_n_limit")] * (len(events) - len(tried))


async def best_of(
    events: Sequence[Mapping[str, Any]], sample: Sample, prefer: Prefer, margin: float
) -> list[Resampled]:
    """Sample for all events, judge every sample against the disliked reply in both orders, and choose."""
    fresh = [_worth_judging(event, texts) for event, texts in zip(events, await sample(events), strict=True)]
    pairs = [(event, text) for event, texts in zip(events, fresh, strict=True) for text in texts]
    orders = [
        Comparison(prompt_key(event), *order)
        for event, text in pairs
        for order in ((text, event["reply"]), (event["reply"], text))
    ]
    verdicts = iter(await prefer(orders) if orders else [])
    both = [{text: (next(verdicts), next(verdicts)) for text in texts} for texts in fresh]
    chosen = [choose({text: _score(*orders) for text, orders in each.items()}, margin) for each in both]
    return [replace(c, doubt=_doubt(*each[c.other])) if c.other else c for c, each in zip(chosen, both, strict=True)]


def choose(scores: Mapping[str, float | None], margin: float) -> Resampled:
    """Return the sample with the highest score, if it passes the margin.

    A score is the lower, of both orders, of the probabilities that the sample is better; None without both verdicts.
    """
    if not scores:
        return Resampled(reason="no_fresh_sample")
    known = {text: score for text, score in scores.items() if score is not None}
    if not known:
        return Resampled(reason="judge_failed", other=next(iter(scores)))
    best = max(known, key=lambda text: known[text])
    if known[best] >= 0.5 + margin:
        return Resampled(text=best)
    return Resampled(reason="no_better_sample", other=best)


def prompt_key(event: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return an event's prompt as (role, content) pairs."""
    return tuple((message["role"], message["content"]) for message in event["prompt"])


def question(prompt: Sequence[tuple[str, str]]) -> str:
    """Return the prompt as the judge reads it: the one user message, or the conversation with its speakers."""
    spoken = [(role, content) for role, content in prompt if role != "system"]
    if len(spoken) == 1:
        return spoken[0][1]
    return "\n".join(f"{role.capitalize()}: {content}" for role, content in spoken)


def _score(as_first: float | None, as_second: float | None) -> float | None:
    return None if as_first is None or as_second is None else min(as_first, 1 - as_second)


def _doubt(as_first: float | None, as_second: float | None) -> float:
    """Return how little the judge could tell, from 0 to 1: nothing where its word turns with the order, or is none."""
    if as_first is None or as_second is None:
        return 1.0
    return 1 - abs(as_first - as_second)


def _worth_judging(event: Mapping[str, Any], texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text.strip() and text != event["reply"]))


def _sampler(url: str, params: BestOfNParams) -> Sample:
    """Return a sampler over the engine; a reply that was cut off at `max_tokens` is no sample."""
    import httpx

    async def sample(events: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        async with httpx.AsyncClient(timeout=REQUEST_SECONDS) as client:
            return await asyncio.gather(*(one(client, event) for event in events))

    async def one(client: httpx.AsyncClient, event: Mapping[str, Any]) -> list[str]:
        body = {
            "model": NAME,
            "messages": event["prompt"],
            "n": params.samples,
            "temperature": params.temperature,
            "max_tokens": params.max_tokens,
            "seed": params.seed,
        }
        response = await client.post(f"{url}/chat/completions", json=body)
        if response.status_code == 400:  # the prompt is longer than the window
            log.warning("no samples for event %s: %s", event["event_id"], response.text[:200])
            return []
        if response.status_code != 200:
            raise EngineError(f"the engine refused to sample (status {response.status_code}): {response.text[:200]}")
        return [c["message"]["content"] or "" for c in response.json()["choices"] if c["finish_reason"] == "stop"]

    return sample


def _judge(url: str, bundle: str, params: BestOfNParams) -> Judge:
    """Return the judge: the endpoint of the settings, or the engine that also samples."""
    from eval.judge import Judge

    remote = settings().judge_url
    model = (settings().judge_model or "") if remote else NAME
    return Judge(
        remote or url,
        model,
        identity=f"{remote} {model}" if remote else f"bundle {bundle}",
        cache=settings().state_dir / "judge",
        api_key=settings().judge_api_key,
        concurrency=STREAMS,
        retries=3,
        pause_seconds=1.0,
        timeout_seconds=REQUEST_SECONDS,
        verdict_tokens=1,
        min_mass=params.min_mass,
    )


def _preferrer(judge: Judge) -> Prefer:
    from eval.judge import Ask, load_prompt

    prompt = load_prompt("pairwise")

    async def prefer(comparisons: Sequence[Comparison]) -> list[float | None]:
        fields = [{"question": question(c.prompt), "answer_a": c.first, "answer_b": c.second} for c in comparisons]
        return [_probability(ruling) for ruling in await judge.rule([Ask(prompt, prompt.messages(f)) for f in fields])]

    return prefer


def _probability(ruling: Ruling) -> float | None:
    return None if ruling.error else ruling.first_is_better
