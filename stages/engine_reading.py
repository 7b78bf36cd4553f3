"""What a served engine says, token by token, of conversations as training rendered them. Used by `stages.parity`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from stages.answer import NAME
from thumbwheel.errors import EngineError

CONCURRENCY = 8
TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class Asked:
    """One conversation as training saw it: its tokens, the places of the answer tokens, and its first prompt."""

    id: str
    messages: Sequence[Mapping[str, str]]
    tokens: list[int]
    places: list[int]
    prompt: list[int]


@dataclass(frozen=True)
class Said:
    """What the engine said of one conversation; shapes as in `Reading`."""

    prompt: list[int]
    actual: list[float]
    top: list[int]
    ids: list[list[int]]
    logs: list[list[float]]


async def ask_engine(
    url: str, asked: Sequence[Asked], top: int, answers: int, answer_tokens: int
) -> tuple[list[Said], list[list[int]]]:
    """Return what the engine says of each conversation, and the tokens of its greedy answers to the first `answers`.

    Raises:
        EngineError: the engine went away, or gives no probabilities of a prompt's tokens.
    """
    limit = asyncio.Semaphore(CONCURRENCY)

    async def one(client: httpx.AsyncClient, conversation: Asked) -> Said:
        async with limit:
            return await read_served(client, url, conversation, top)

    async def answer(client: httpx.AsyncClient, prompt: list[int]) -> list[int]:
        body = {"prompt": prompt, "max_tokens": answer_tokens, "temperature": 0, "return_token_ids": True}
        async with limit:
            choice = (await post(client, f"{url}/completions", body))["choices"][0]
        return [int(token) for token in choice["token_ids"]]

    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
        said = await asyncio.gather(*(one(client, conversation) for conversation in asked))
        answered = await asyncio.gather(*(answer(client, one.prompt) for one in asked[:answers]))
    return list(said), list(answered)


async def read_served(client: httpx.AsyncClient, url: str, asked: Asked, top: int) -> Said:
    """Return the engine's tokens of the prompt, and its log-probabilities at the answer tokens."""
    body: dict[str, Any] = {"messages": list(asked.messages), "add_generation_prompt": True}
    prompt = (await post(client, f"{url.removesuffix('/v1')}/tokenize", body))["tokens"]
    body = {"prompt": asked.tokens, "max_tokens": 1, "temperature": 0, "prompt_logprobs": top}
    given = (await post(client, f"{url}/completions", body))["choices"][0].get("prompt_logprobs")
    if not given:
        raise EngineError("the engine gives no probabilities of a prompt's tokens (prompt_logprobs); use vLLM.")
    steps = [sorted(given[place].items(), key=lambda item: item[1]["rank"]) for place in asked.places]
    return Said(
        prompt=[int(token) for token in prompt],
        actual=[given[place][str(asked.tokens[place])]["logprob"] for place in asked.places],
        top=[int(step[0][0]) for step in steps],
        ids=[[int(token) for token, _ in step[:top]] for step in steps],
        logs=[[float(value["logprob"]) for _, value in step[:top]] for step in steps],
    )


async def post(client: httpx.AsyncClient, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the engine's reply as JSON."""
    try:
        response = await client.post(url, json={"model": NAME, **body})
    except httpx.HTTPError as error:
        raise EngineError(f"the engine went away while it was read ({error}); see .thumbwheel/logs.") from None
    if response.status_code != 200:
        raise EngineError(f"{url} answered {response.status_code}: {' '.join(response.text.split())[:300]}")
    return dict(response.json())
