"""How likely a judge's own model finds an answer: what self-preference comes from (Wataoka et al., arXiv:2410.21819).

A judge that prefers what it could have written itself prefers the answer of lower perplexity oftener than the labels
do. Endpoints with the completions API and `echo` (vLLM) give it; others do not, and then nothing is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

Pair = tuple[str, str]
"""A question and an answer to it."""


async def likelihoods(
    url: str, model: str, pairs: Sequence[Pair], concurrency: int, timeout_seconds: float, api_key: str | None
) -> list[float] | None:
    """Return the mean log-probability, in nats a token, of each answer after its question; None where not given."""
    limit = asyncio.Semaphore(concurrency)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def one(client: httpx.AsyncClient, question: str, answer: str) -> float | None:
        lead = f"{question}\n\n"
        body = {"model": model, "prompt": lead + answer, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
        async with limit:
            response = await client.post(f"{url.rstrip('/')}/completions", json=body)
        return mean_of_answer(response.json(), len(lead), len(lead + answer)) if response.status_code == 200 else None

    try:
        async with httpx.AsyncClient(timeout=timeout_seconds, headers=headers) as client:
            found = await asyncio.gather(*(one(client, *pair) for pair in pairs))
    except (httpx.HTTPError, ValueError):
        return None
    known = [value for value in found if value is not None]
    return known if len(known) == len(pairs) else None


def mean_of_answer(reply: Mapping[str, Any], start: int, end: int) -> float | None:
    """Return the mean log-probability of the tokens that begin within characters `start` to `end` of the prompt."""
    try:
        given = reply["choices"][0]["logprobs"]
        both = zip(given["text_offset"], given["token_logprobs"], strict=True)
        values = [value for offset, value in both if start <= offset < end and value is not None]
    except (KeyError, IndexError, TypeError):
        return None
    return sum(values) / len(values) if values else None


def likelier(a: float, b: float) -> str | None:
    """Return which of two answers is the likelier; None where they are equally so."""
    return None if a == b else "a" if a > b else "b"
