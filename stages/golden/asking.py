"""Ask a running chat service questions, turn by turn, and keep what it answered beside how and from what."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from eval.drift import Reply
from stages.said import is_golden
from thumbwheel.errors import DriftError

USER = "watch"
"""The application's user under whose name is asked."""
TRIES = 5
"""How often a question is put that the service is too busy for."""
LONGEST_WAIT = 60.0
FAULTS = (httpx.HTTPError, ValueError, LookupError, TypeError)


@dataclass(frozen=True)
class Question:
    """A golden question: what the user says, turn by turn, and what the last answer must hold, if anything."""

    set: str
    id: str
    turns: tuple[str, ...]
    max_tokens: int
    demands: Mapping[str, Sequence[str]] | None = None


def question_of(row: Mapping[str, Any], max_tokens: int) -> Question:
    """Return the question of a row of `records.QUESTION`."""
    demands = json.loads(row["label"]) if row["kind"] == "golden" else None
    return Question(row["set"], row["id"], tuple(row["turns"]), max_tokens, demands)


def served_release(url: str) -> dict[str, Any]:
    """Return what the service at `url` says of its release: version, model, bundle, index.

    Raises:
        DriftError: it does not answer.
    """
    try:
        found = httpx.get(f"{url}/release", timeout=30).raise_for_status().json()
        return {name: found[name] for name in ("version", "model", "bundle", "index")}
    except FAULTS as error:
        raise DriftError(f"the chat service at {url} does not answer ({error}); start it: make up.") from None


async def ask_all(
    url: str, questions: Sequence[Question], number: int, key: str | None, concurrency: int, seconds: float
) -> list[Reply | None]:
    """Return the last answer to each question, in their order; None where there was none.

    `number` tells this look from others: it is sent as the seed, which changes nothing at temperature 0 but that no
    answer of an earlier look is taken from the semantic cache.
    """
    gate = asyncio.Semaphore(concurrency)
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    async with httpx.AsyncClient(base_url=url, timeout=seconds, headers=headers) as client:

        async def one(question: Question) -> Reply | None:
            async with gate:
                return await ask(client, question, number)

        return list(await asyncio.gather(*map(one, questions)))


async def ask(client: httpx.AsyncClient, question: Question, number: int) -> Reply | None:
    """Return the last answer to one question; None where a turn of it failed."""
    messages: list[dict[str, str]] = []
    seconds = 0.0
    answer: dict[str, Any] = {}
    for text in question.turns:
        messages.append({"role": "user", "content": text})
        body = {"messages": messages, "max_tokens": question.max_tokens, "temperature": 0, "seed": number, "user": USER}
        try:
            answer, took = await completed(client, body)
            said = answer["choices"][0]["message"]["content"] or ""
        except FAULTS:
            return None
        messages.append({"role": "assistant", "content": said})
        seconds += took
    return reply_of(answer, seconds, question)


async def completed(client: httpx.AsyncClient, body: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return the service's answer and the seconds that it took, after as long a wait as it asked for when busy."""
    for tried in range(1, TRIES + 1):
        began = time.monotonic()
        response = await client.post("/v1/chat/completions", json=body)
        if response.status_code not in (429, 503) or tried == TRIES:
            break
        await asyncio.sleep(min(LONGEST_WAIT, float(response.headers.get("Retry-After", "2"))))
    response.raise_for_status()
    return dict(response.json()), time.monotonic() - began


def reply_of(answer: Mapping[str, Any], seconds: float, question: Question) -> Reply:
    """Return an answer of the service as it is compared."""
    choice = answer["choices"][0]
    text = choice["message"]["content"] or ""
    sources = tuple(sorted({str(one["source"]) for one in answer.get("citations", ())}))
    is_right = is_golden(text, question.demands) if question.demands is not None else None
    return Reply(text, str(choice["finish_reason"]), sources, seconds, is_right)
