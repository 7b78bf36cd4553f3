"""A replay: held-out prompts asked of both arms through the whole service, so that an arm can be tried alone."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import Field

from stages.arms.service import service_headers
from thumbwheel.arms import CANARY, CONTROL
from thumbwheel.errors import PinError, ReleaseError
from thumbwheel.lake import read_pinned
from thumbwheel.ledger import Entry, Ledger
from thumbwheel.params import Params

logger = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(120, connect=10)
TRIES = 20
"""Of a prompt that the service has no room for yet."""


class ReplayParams(Params):
    """How many prompts are asked, how many at once, how long an answer may be, and for how long all of it may go on."""

    prompts: int = Field(ge=0)
    max_tokens: int = Field(ge=1)
    concurrency: int = Field(ge=1)
    seconds: float = Field(gt=0)


@dataclass(frozen=True)
class Said:
    """How an arm answered one prompt: whether it broke, what the guardrails did, and the seconds to its first piece."""

    failed: bool
    guarded: bool = False
    first_seconds: float | None = None


def held_out_prompts(count: int) -> list[str]:
    """Return the first questions of held-out conversations, then of the documents' question set: no model saw them."""
    try:
        conversations = read_pinned("split", "conversations").to_pylist()
        questions = read_pinned("pose", "questions").to_pylist()
    except PinError as error:
        logger.warning("no prompts are held out: %s", error)
        return []
    rows = [row for side in ("test", "validation") for row in conversations if row["split"] == side]
    firsts = [next((m["content"] for m in row["messages"] if m["role"] == "user"), "") for row in rows]
    asked = [row["turns"][0] for row in questions if row["kind"] == "qa"]
    return list(dict.fromkeys(text for text in (*firsts, *asked) if text.strip()))[:count]


@dataclass(frozen=True)
class Replay:
    """Prompts for both arms of a canary: `models` by arm, the service's `url`, and where answers are entered.

    `is_settled` tells whether no more answers are needed.
    """

    models: dict[str, str]
    params: ReplayParams
    url: str
    canary: str
    ledger: Ledger
    is_settled: Callable[[], bool]

    def run(self, prompts: Sequence[str]) -> None:
        """Ask every prompt that was not asked yet of both arms, and enter what came of it, until all is settled.

        Raises:
            ReleaseError: the service admits nobody without a key, and none is set.
        """
        asked = {entry.unit for entry in self.ledger.entries(self.canary, "replay")}
        asyncio.run(self._ask([(n, text) for n, text in enumerate(prompts) if f"prompt-{n}" not in asked]))

    async def _ask(self, left: list[tuple[int, str]]) -> None:
        end = time.monotonic() + self.params.seconds

        async def work(client: httpx.AsyncClient) -> None:
            while left and time.monotonic() < end and not self.is_settled():
                place, text = left.pop(0)
                self._enter(place, await _both(client, place, text, self.models, self.params.max_tokens))

        async with httpx.AsyncClient(base_url=self.url, headers=service_headers(), timeout=TIMEOUT) as client:
            await asyncio.gather(*(work(client) for _ in range(self.params.concurrency)))

    def _enter(self, place: int, both: dict[str, Said]) -> None:
        for arm, said in both.items():
            facts = (f"replay-{place}-{arm}", said.failed, said.guarded, said.first_seconds)
            self.ledger.add(Entry(self.canary, "replay", f"prompt-{place}", arm, *facts, time.time()))


async def _both(
    client: httpx.AsyncClient, place: int, text: str, models: dict[str, str], max_tokens: int
) -> dict[str, Said]:
    """Ask both arms one after the other, each as often first; nothing where the prompt itself is refused."""
    said: dict[str, Said] = {}
    for arm in (CANARY, CONTROL) if place % 2 else (CONTROL, CANARY):
        one = await _asked(client, arm, models[arm], text, max_tokens)
        if one is None:
            return {}
        said[arm] = one
    return said


async def _asked(client: httpx.AsyncClient, arm: str, model: str, text: str, max_tokens: int) -> Said | None:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], "user": "replay"}
    body |= {"stream": True, "temperature": 0, "max_tokens": max_tokens}
    for _ in range(TRIES):
        started = time.monotonic()
        try:
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code == 200:
                    return await _said(response, arm, started)
                await response.aread()
        except httpx.HTTPError:
            return Said(failed=True)
        if response.status_code == 401:
            raise ReleaseError("the service admits nobody without a key: set THUMBWHEEL_SERVICE_KEY.")
        if response.status_code != 429:
            return Said(failed=True) if response.status_code >= 500 else None
        await asyncio.sleep(float(response.headers.get("Retry-After", 1)))
    return None


async def _said(response: httpx.Response, arm: str, started: float) -> Said:
    """Read a stream; an answer that another arm gave in this one's stead is a failure of this one."""
    first: float | None = None
    guarded = is_whole = False
    async for line in response.aiter_lines():
        data = line.removeprefix("data: ").strip()
        is_whole = is_whole or data == "[DONE]"
        value: dict[str, Any] = json.loads(data) if data.startswith("{") else {}
        if first is None and any(choice["delta"].get("content") for choice in value.get("choices", [])):
            first = time.monotonic() - started
        guarded = guarded or value.get("guard", {}).get("layer", "input") != "input"
    return Said(not is_whole or response.headers.get("X-Arm") != arm, guarded, first)
