"""Other wordings of a question, by the engine: simpler questions, and an answer made up to search by.

HyDE is of Gao et al. 2022 (arXiv:2212.10496), decomposition of Press et al. 2022 (arXiv:2210.03350).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from serving.upstream import Upstream

Ask = Callable[[str, int], Awaitable[str]]
"""Ask the engine a prompt for an answer of at most so many tokens."""

DECOMPOSE = """Split this question into at most {limit} simpler questions that can be answered one by one. \
Write one question a line and nothing else.

Question: {question}"""
HYDE = """Write a short passage of a help page that answers this question.

Question: {question}"""
NUMBERED = re.compile(r"^\s*(?:[-*•]|\(?\d+[.):])\s*")


async def simpler_questions(question: str, limit: int, ask: Ask, tokens: int) -> list[str]:
    """Return at most `limit` simpler questions; none where the engine's answer holds no question."""
    return questions_in(await ask(DECOMPOSE.format(limit=limit, question=question), tokens), question, limit)


async def supposed_answer(question: str, ask: Ask, tokens: int) -> str:
    """Return a passage that might answer the question; what it says need not be true."""
    return (await ask(HYDE.format(question=question), tokens)).strip()


def questions_in(text: str, asked: str, limit: int) -> list[str]:
    """Return the lines of a text that are questions, without numbers and bullets, and without the one asked."""
    lines = (NUMBERED.sub("", line).strip() for line in text.splitlines())
    found = dict.fromkeys(line for line in lines if line.endswith("?") and line != asked.strip())
    return list(found)[:limit]


def asking(upstream: Upstream, model: str) -> Ask:
    """Return what asks one engine, greedily."""

    async def ask(prompt: str, tokens: int) -> str:
        messages = [{"role": "user", "content": prompt}]
        payload: dict[str, Any] = {"model": model, "messages": messages, "temperature": 0, "max_tokens": tokens}
        async with aclosing(upstream.stream(payload, whole=True)) as pieces:
            return "".join([piece.text async for piece in pieces])

    return ask
