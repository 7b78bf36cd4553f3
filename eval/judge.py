"""The judge: an async client of any OpenAI-compatible endpoint that gives verdicts as probabilities, each asked once.

Prompts are versioned files in `eval/prompts`. Every reply is kept as soon as it is there (`eval.cache`), so that a run
that was cut short, or a judge that goes down, loses nothing and pays for nothing twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any

import httpx
import yaml

from eval.cache import keep, read_cached
from eval.completion import read_completion
from eval.ruling import Ruling, Verdicts, read_ruling
from thumbwheel.errors import JudgeError

PROMPTS = Path(__file__).with_name("prompts")
TOP = 20
"""How many alternatives of a token are asked for: the most that OpenAI's API allows."""
REFUSED = {401, 402, 403, 404, 405}
"""What no second question would change: the key, the account, the address. So is a redirect, which we do not follow."""
BUSY = {408, 409, 425, 429, 500, 502, 503, 504}
MEND = (
    "set THUMBWHEEL_JUDGE_URL, THUMBWHEEL_JUDGE_MODEL and THUMBWHEEL_JUDGE_API_KEY, or unset them for the local judge."
)


@dataclass(frozen=True)
class Prompt:
    """A judge prompt as it stands in its file."""

    name: str
    version: int
    verdicts: Verdicts
    system: str
    reference: str
    user: str
    lead: str
    """How a judge's own reply begins where the endpoint lets us begin it; small models need that to give a verdict."""

    @property
    def label(self) -> str:
        """Name, version and a digest of the wording, so that a prompt reworded under an old version is seen as new."""
        words = json.dumps(asdict(self), sort_keys=True).encode()
        return f"{self.name}@{self.version}+{hashlib.sha256(words).hexdigest()[:8]}"

    def messages(self, fields: Mapping[str, str], references: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
        """Return the (role, content) messages that ask for a verdict; `references` are right answers, one a turn."""
        known = {f"reference_{turn}": reference for turn, reference in enumerate(references, 1)}
        block = Template(self.reference).substitute(known) if known else ""
        text = Template(self.user).substitute(fields, reference_block=block)
        return (("system", self.system), ("user", text))


@dataclass(frozen=True)
class Ask:
    """One question to the judge."""

    prompt: Prompt
    messages: tuple[tuple[str, str], ...]

    def key(self, identity: str) -> str:
        """Return what the answer is kept under: the judge, the prompt's version and every word of the question."""
        parts = [identity, self.prompt.label, *(part for message in self.messages for part in message)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def load_prompt(name: str) -> Prompt:
    """Read a prompt from `eval/prompts`."""
    return Prompt(**yaml.safe_load((PROMPTS / f"{name}.yaml").read_text()))


@dataclass
class Usage:
    """What verdicts cost in tokens; `unmeasured` replies came without a count."""

    prompt: int = 0
    completion: int = 0
    unmeasured: int = 0

    def add(self, reply: Mapping[str, Any]) -> None:
        """Count one reply."""
        tokens = reply.get("usage")
        if tokens is None:
            self.unmeasured += 1
        else:
            self.prompt, self.completion = self.prompt + tokens[0], self.completion + tokens[1]

    def money(self, prompt_price: float | None, completion_price: float | None) -> float | None:
        """Return the price of it all at these prices for a million tokens; None where price or count is unknown."""
        if prompt_price is None or completion_price is None or self.unmeasured:
            return None
        return (self.prompt * prompt_price + self.completion * completion_price) / 1e6


class NotKeptError(LookupError):
    """A judge without an address was asked what it has not said before."""


class Judge:
    """An endpoint, and the cache of all that it has said; with `url` None the cache alone, which raises NotKeptError.

    `leads` begins the judge's reply with the prompt's `lead`, which vLLM allows and OpenAI's own API does not.
    """

    def __init__(
        self,
        url: str | None,
        model: str,
        identity: str,
        cache: Path,
        *,
        api_key: str | None,
        concurrency: int,
        retries: int,
        pause_seconds: float,
        timeout_seconds: float,
        verdict_tokens: int,
        min_mass: float,
        leads: bool = False,
    ) -> None:
        self.url, self.model, self.identity, self.cache = url and url.rstrip("/"), model, identity, cache
        self.place = public(self.url or "")
        self.headers = _headers(api_key)
        self.concurrency, self.retries = concurrency, retries
        self.pause, self.timeout = pause_seconds, timeout_seconds
        self.verdict_tokens, self.min_mass = verdict_tokens, min_mass
        self.leads = leads
        self.calls = 0
        self.usage = Usage()
        """Of all that was asked here, kept replies too: what the verdicts are worth, whenever they were paid for."""
        self._logprobs = True
        self._heard = False

    async def rule(self, asks: Sequence[Ask], progress: Callable[[int], None] = lambda done: None) -> list[Ruling]:
        """Return a ruling for each question, in order; equal questions are asked once, known ones not at all.

        Raises:
            JudgeError: the endpoint cannot be reached, refuses, or never gave a completion; what it said until then is
                kept for the next run.
        """
        unique = {ask.key(self.identity): ask for ask in asks}
        gate, replies = asyncio.Semaphore(self.concurrency), dict[str, dict[str, Any]]()
        faults: list[JudgeError] = []

        async def one(client: httpx.AsyncClient, key: str, ask: Ask) -> None:
            async with gate:
                if faults:  # what is under way may still come in; nothing new is asked of a judge that is down
                    return
                try:
                    replies[key] = await self._reply(client, key, ask)
                except JudgeError as error:
                    faults.append(error)
                    return
            progress(len(replies))

        async with httpx.AsyncClient(timeout=self.timeout, headers=self.headers) as client:
            await asyncio.gather(*(one(client, key, ask) for key, ask in unique.items()))
        if faults:
            raise JudgeError(f"{faults[0]} {len(replies)} of {len(unique)} replies are kept; run again for the rest.")
        self._refuse_silence(list(replies.values()))
        for reply in replies.values():
            self.usage.add(reply)
        return [read_ruling(replies[ask.key(self.identity)], ask.prompt.verdicts, self.min_mass) for ask in asks]

    def _refuse_silence(self, replies: Sequence[Mapping[str, Any]]) -> None:
        """Stop where not one question ever got a completion: that is a wrong address or model, and no weak judge."""
        self._heard = self._heard or any("error" not in reply for reply in replies)
        if replies and not self._heard:
            raise JudgeError(
                f"the judge at {self.place} answered none of {len(replies)} questions ({replies[0]['error']}); {MEND}"
            )

    async def _reply(self, client: httpx.AsyncClient, key: str, ask: Ask) -> dict[str, Any]:
        if (known := read_cached(self.cache, key)) is not None:
            return known
        if self.url is None:
            raise NotKeptError(key)
        answer = await self._ask(client, key, ask)
        if "error" not in answer:
            keep(self.cache, key, answer)
        return answer

    async def _ask(self, client: httpx.AsyncClient, key: str, ask: Ask) -> dict[str, Any]:
        chance, trouble, wait = random.Random(key), "", 0.0
        for attempt in range(self.retries + 1):
            if attempt:
                await asyncio.sleep(max(wait, self.pause * 2 ** (attempt - 1) * chance.uniform(0.5, 1.5)))
            try:
                async with asyncio.timeout(self.timeout):  # httpx's own begins anew with every byte
                    response = await self._post(client, ask)
            except httpx.InvalidURL as error:
                raise JudgeError(f"the judge's address {self.place} is none ({error}); {MEND}") from None
            except (httpx.HTTPError, TimeoutError) as error:
                trouble = f"{type(error).__name__} {error}".strip()
                continue
            if response.status_code in BUSY:
                trouble, wait = f"status {response.status_code}: {response.text[:200]}", self._asked_to_wait(response)
                continue
            return self._understood(response)
        raise JudgeError(f"the judge at {self.place} cannot be reached ({trouble}); {MEND}")

    async def _post(self, client: httpx.AsyncClient, ask: Ask) -> httpx.Response:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": role, "content": content} for role, content in ask.messages],
            "temperature": 0,
            "max_tokens": self.verdict_tokens,
        }
        if self.leads:
            body["messages"].append({"role": "assistant", "content": ask.prompt.lead})
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        likely = {"logprobs": True, "top_logprobs": TOP}
        self.calls += 1
        response = await client.post(f"{self.url}/chat/completions", json=body | (likely if self._logprobs else {}))
        if response.status_code == 400 and self._logprobs and "logprob" in response.text.casefold():
            self._logprobs = False
            return await self._post(client, ask)
        return response

    def _asked_to_wait(self, response: httpx.Response) -> float:
        """Return the seconds of a `Retry-After`, at most the time that an answer may take; 0 where there is none."""
        try:
            return min(float(response.headers.get("retry-after", 0)), self.timeout)
        except ValueError:  # a date, which the pause of our own stands in for
            return 0.0

    def _understood(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code in REFUSED or response.is_redirect:
            raise JudgeError(f"the judge at {self.place} refuses (status {response.status_code}); {MEND}")
        if response.status_code != 200:
            return {"error": f"status {response.status_code}: {' '.join(response.text.split())[:200]}"}
        found = read_completion(response.text)
        return found or {"error": f"no chat completion: {' '.join(response.text.split())[:200]}"}


def public(url: str) -> str:
    """Return a URL without the name and password that may stand in it: it goes into reports and messages."""
    return re.sub(r"(?<=://)[^/@]*@", "", url.rstrip("/"))


def _headers(api_key: str | None) -> dict[str, str]:
    """Return the headers of every request.

    Raises:
        JudgeError: the key has a character that no header may hold; the message does not show it.
    """
    if not api_key or not api_key.strip():
        return {}
    if not re.fullmatch(r"[\x21-\x7e]+", api_key.strip()):
        raise JudgeError("THUMBWHEEL_JUDGE_API_KEY holds a blank or a letter that no key may have; set it again.")
    return {"Authorization": f"Bearer {api_key.strip()}"}
