"""How a moderation model is asked over an OpenAI-compatible chat API, as Llama Guard is (Inan et al. 2023).

It is given a conversation whose last message is the one to judge, and answers `safe`, or `unsafe` and on the next line
the categories that were violated, such as `S1,S10`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

ANSWER = re.compile(r"\s*(safe|unsafe)\b[\s:,]*([a-z]{0,2}\d{1,3}\b)?", re.IGNORECASE)
"""A category has a short code, so that what a model makes up is neither shown nor counted by name."""
MAX_TOKENS = 24
UNREADABLE = (ValueError, KeyError, IndexError, TypeError)
"""What `answer_of` raises where a body is none of a chat completion."""


def address(url: str) -> str:
    """Return where questions go, of a base URL such as `https://host/v1`."""
    return f"{url.rstrip('/')}/chat/completions"


def question(model: str, messages: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the body that asks about the last message."""
    return {"model": model, "messages": list(messages), "max_tokens": MAX_TOKENS, "temperature": 0}


def answer_of(body: Any) -> re.Match[str] | None:
    """Return the answer in a response's body; None where the model answered something else."""
    return ANSWER.match(body["choices"][0]["message"]["content"])


def is_safe(answer: re.Match[str]) -> bool:
    """Return whether an answer finds the message harmless."""
    return answer.group(1).lower() == "safe"
