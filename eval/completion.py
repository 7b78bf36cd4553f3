"""What a chat completion of an OpenAI-compatible endpoint says, as far as a verdict needs it; garbage is left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

STEPS = 3
"""How many tokens of a reply are kept: a space, and a grade in two digits."""
SURE = 1e-3
"""The largest number that is taken for a log-probability: endpoints round nought upwards."""


def read_completion(text: str) -> dict[str, Any] | None:
    """Return `text`, `steps` (first tokens with their alternatives) and `usage` of a response; None where it is none.

    Steps that are no log-probabilities are as good as none, and so is a count of tokens that is none: the words count.
    """
    try:
        body = json.loads(text)
        choice = body["choices"][0]
        said = choice["message"]["content"] or ""
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return {"text": said, "steps": _steps(choice), "usage": _tokens(body)} if isinstance(said, str) else None


def _steps(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        content = (choice.get("logprobs") or {}).get("content") or []
        return [
            {"token": _token(step), "top": [[_token(one), _log(one)] for one in step["top_logprobs"]]}
            for step in content[:STEPS]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _token(value: Mapping[str, Any]) -> str:
    if not isinstance(value["token"], str):
        raise TypeError
    return value["token"]


def _log(value: Mapping[str, Any]) -> float:
    if not (found := float(value["logprob"])) <= SURE:
        raise ValueError
    return found


def _tokens(body: Mapping[str, Any]) -> list[int] | None:
    """Return how many tokens went in and came out, None where the endpoint does not say."""
    try:
        return [int(body["usage"][name]) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, TypeError):
        return None
