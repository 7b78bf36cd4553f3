"""From chunks to a grounded prompt, and from a reply to its citations: pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from serving.history import Messages, question_of, with_question
from serving.retrieval.store import Hit
from serving.tools.arguments import text_of
from thumbwheel.grounding import cited, render

CHARACTERS_A_TOKEN = 3
"""Fewer than a token has in English, so that a prompt which is said to fit does."""
FRAME_TOKENS = 64
"""More than the words round the documents take."""
LEAST_CONTEXT = 200
"""Characters; where there is no room for so many, documents are left out."""
EXCERPT = 240
ASKING = re.compile(
    r"(who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|can|could|may|will|would|should|has|have)\b",
    re.IGNORECASE,
)

WORDS_OF_A_QUESTION = 3
"""Fewer, such as "Hello?", ask for nothing that a page could hold."""
WORD = re.compile(r"\w+")

Source = dict[str, Any]
"""A document of a prompt: number, id, title, source, link, excerpt, tenant, and its words, sorted."""


def asks(text: str) -> bool:
    """Tell whether a message asks something, rather than greets, thanks or gives a task."""
    is_marked = text.rstrip().endswith(("?", "？", "؟"))
    return len(text.split()) >= WORDS_OF_A_QUESTION and (is_marked or bool(ASKING.match(text.lstrip())))


def context_room(messages: Messages, tools: Sequence[Mapping[str, Any]], window: int, max_tokens: int) -> int:
    """Return how many characters of documents fit into a window of tokens beside messages, tools and the answer."""
    spoken = sum(len(text_of(message)) for message in messages) + (len(json.dumps(tools)) if tools else 0)
    return (window - max_tokens) * CHARACTERS_A_TOKEN - spoken


def room_in(tokens: int) -> int:
    """Return how many characters of documents so many tokens hold, with the words round them."""
    return (tokens - FRAME_TOKENS) * CHARACTERS_A_TOKEN


def grounded(messages: Messages, hits: Sequence[Hit], characters: int) -> tuple[Messages, list[Source]]:
    """Return the messages with the documents set into the user's last one, and the sources that have room there.

    A document is whole or not there, but for the first, which is cut where it does not fit.
    """
    kept: list[Hit] = []
    used = 0
    for hit in hits:
        size = len(document_text(hit)) + len("[10] \n\n")
        if kept and used + size > characters:
            break
        kept.append(hit)
        used += size
    content = render(question_of(messages), [document_text(hit) for hit in kept], characters)
    sources = [source_of(number, hit) for number, hit in enumerate(kept, start=1)]
    return with_question(messages, content), sources


def document_text(hit: Hit) -> str:
    return f"{hit.title}\n\n{hit.text}"


def source_of(number: int, hit: Hit) -> Source:
    excerpt = hit.text if len(hit.text) <= EXCERPT else f"{hit.text[: EXCERPT - 1].rstrip()}…"
    shown = {"title": hit.title, "source": hit.source, "link": hit.link, "excerpt": excerpt}
    return {
        "number": number,
        "id": hit.id,
        **shown,
        "tenant": hit.tenant,
        "words": sorted(words_of(document_text(hit))),
    }


def citations(reply: str, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return the sources as an answer carries them, without their tenant.

    `cited` says whether the reply names a source's number, `support` which share of the reply's words stand in it: a
    small model names none.
    """
    named, words = cited(reply), words_of(reply)
    shown = [{key: value for key, value in source.items() if key not in ("tenant", "words")} for source in sources]
    shares = [len(words & set(source["words"])) / max(1, len(words)) for source in sources]
    return [
        {**source, "cited": source["number"] in named, "support": round(share, 3)}
        for source, share in zip(shown, shares, strict=True)
    ]


def words_of(text: str) -> set[str]:
    """Return the words of a text that carry meaning: those of four letters on, and numbers, in lower case."""
    return {word for word in WORD.findall(text.lower()) if len(word) > 3 or word[0].isdigit()}


def tenants_of(retrieved: Mapping[str, Any] | None) -> set[str]:
    """Return whose documents stood in a prompt."""
    return {str(source["tenant"]) for source in (retrieved or {}).get("sources", [])}
