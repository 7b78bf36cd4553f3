"""Whether documents make a bundle's answers better, and what they cost: part of `benchmarks.retrieval`.

The seed's questions are asked greedily of the engine as the chat service would ask them: plain, with the documents that
retrieval finds, and with the very pages that hold the answers. Differences are paired, with 90 % bootstrap intervals.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.measure import markdown
from benchmarks.retrieval import searching, shipped
from benchmarks.retrieval_sets import LabelledSet, seed
from eval.statistics import paired_bootstrap
from serving.retrieval.sources import grounded
from stages.pose import read_documents
from thumbwheel.encoder import Encoder
from thumbwheel.engine import running_engine
from thumbwheel.grounding import render
from thumbwheel.settings import REPOSITORY

MODEL = "answering"
WINDOW, TOKENS, AT_ONCE = 2048, 64, 16
WORD = re.compile(r"\w+")
UNKNOWN = re.compile(r"\b(don.t|do not|not) know\b|\bno (information|answer)\b", re.IGNORECASE)


def print_answers(bundle: Path, encode: Encoder) -> None:
    pages = seed()
    prompts, milliseconds = prompts_of(pages, encode)
    with tempfile.TemporaryDirectory() as folder, running_engine(bundle, MODEL, WINDOW, Path(folder) / "log") as url:
        first = {way: asyncio.run(first_token_ms(url, texts)) for way, texts in prompts.items()}
        answers = {way: asyncio.run(ask_all(url, texts, TOKENS)) for way, texts in prompts.items()}
    print(markdown(HEADING, rows_of(pages, answers, first, encode)))
    print(f"\nRetrieval itself took {milliseconds:.1f} ms a question, embedding included.")


HEADING = (
    *("prompt", "likeness to the reference", "against plain", "reference's words", "against plain"),
    *("says it does not know, of the unknown", "first token, ms"),
)


def prompts_of(pages: LabelledSet, encode: Encoder) -> tuple[dict[str, list[str]], float]:
    """Return what the engine reads of each question in each way, and the milliseconds that finding took."""
    options = shipped()
    found: list[str] = []
    documents = read_documents("data/seed/knowledge")
    with searching(pages.documents, encode) as searcher:
        searcher.hits("warm")
        began = time.monotonic()
        for text, _ in pages.questions:
            hits = [hit for hit in searcher.hits(text) if hit.cosine >= options.floor][: options.chunks]
            messages, _ = grounded([{"role": "user", "content": text}], hits, options.context_characters)
            found.append(messages[-1]["content"])
        milliseconds = 1000 * (time.monotonic() - began) / len(found)
    right = [
        render(text, [documents[name] for name in sorted(names)], options.context_characters) if names else text
        for text, names in pages.questions
    ]
    return {"plain": [text for text, _ in pages.questions], "found": found, "right pages": right}, milliseconds


def rows_of(
    pages: LabelledSet, answers: dict[str, list[str]], first: dict[str, float], encode: Encoder
) -> list[tuple[str, ...]]:
    known = [place for place, (_, relevant) in enumerate(pages.questions) if relevant]
    unknown = [place for place in range(len(pages.questions)) if place not in known]
    references = [references_of()[text] for text, _ in pages.questions]
    rows: list[tuple[str, ...]] = []
    scores: dict[str, Any] = {}
    for way, replies in answers.items():
        likeness = np.sum(encode(references) * encode(replies), axis=1)
        words = np.array([held(*pair) for pair in zip(references, replies, strict=True)])
        scores[way] = (likeness[known], words[known])
        better = [difference(scores["plain"][n], scores[way][n]) for n in range(2)]
        admits = sum(bool(UNKNOWN.search(replies[place])) for place in unknown)
        means = [f"{score.mean():.3f}" for score in scores[way]]
        share = f"{admits} of {len(unknown)}"
        rows.append((way, means[0], better[0], means[1], better[1], share, f"{first[way]:.0f}"))
    return rows


def difference(plain: np.ndarray, other: np.ndarray) -> str:
    if plain is other:
        return "–"
    found = paired_bootstrap(other - plain, np.random.default_rng(7), 10_000, 0.9)
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def held(reference: str, reply: str) -> float:
    """Return the share of a reference's words that a reply holds."""
    wanted = set(WORD.findall(reference.lower()))
    return len(wanted & set(WORD.findall(reply.lower()))) / len(wanted)


def references_of() -> dict[str, str]:
    lines = (REPOSITORY / "data" / "seed" / "eval" / "questions.jsonl").read_text().splitlines()
    return {row["question"]: row["reference"] for row in map(json.loads, lines)}


async def ask_all(url: str, texts: Sequence[str], tokens: int) -> list[str]:
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:

        async def one(text: str) -> str:
            async with gate:
                return await complete(client, text, tokens)

        return list(await asyncio.gather(*map(one, texts)))


async def first_token_ms(url: str, texts: Sequence[str]) -> float:
    """Return the mean time to one token, question after question, of prompts that the engine has not read before."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        began = time.monotonic()
        for text in texts:
            await complete(client, text, 1)
        return 1000 * (time.monotonic() - began) / len(texts)


async def complete(client: httpx.AsyncClient, text: str, tokens: int) -> str:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    response = (await client.post("/chat/completions", json=body)).raise_for_status()
    return str(response.json()["choices"][0]["message"]["content"] or "")
