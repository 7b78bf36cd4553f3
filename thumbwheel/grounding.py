"""How documents are put into a prompt, in the gate and in the chat alike: what was judged is what is served."""

from __future__ import annotations

import re
from collections.abc import Sequence

GROUNDED = """Use only the documents below to answer the question in one or two sentences. \
If they do not hold the answer, say that you do not know.

{documents}

Question: {question}"""
MARK = re.compile(r"\[(\d{1,2})\]")
"""How an answer cites: `[1]` is the first document of its prompt."""

NUMBER = re.compile(r"^\[(\d+)\]", re.MULTILINE)
QUESTION = re.compile(r"^(Question):", re.MULTILINE | re.IGNORECASE)


def render(question: str, documents: Sequence[str], max_characters: int) -> str:
    """Return what the user is taken to say: the documents, numbered and cut to so many characters, and the question."""
    text = "\n\n".join(f"[{number}] {defused(document)}" for number, document in enumerate(documents, start=1))
    return GROUNDED.format(documents=text[:max_characters], question=question)


def defused(document: str) -> str:
    """Return a document in which no line can pass for another document's number or for the question."""
    return QUESTION.sub(r"\1 -", NUMBER.sub(r"(\1)", document))


def cited(reply: str) -> set[int]:
    """Return the numbers that a reply cites."""
    return {int(number) for number in MARK.findall(reply)}
