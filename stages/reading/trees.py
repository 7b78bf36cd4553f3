"""The trees of OASST: a prompt with its replies, each with replies of its own, ranked by people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from stages.reading.messages import (
    Chat,
    Messages,
    Misfit,
    Pair,
    check_messages,
    mapping_of,
    sender_of,
    text_of,
)
from stages.reading.preferences import pair_of, prompt_of


def from_oasst(record: Mapping[str, Any]) -> Iterator[Chat | Pair]:
    """A tree `{"prompt": {"text", "role", "replies"}}`: its best-ranked path, and rank 0 against 1 at every fork."""
    root = mapping_of(record.get("prompt"))
    path = [*_best_path(root)]
    while path and path[-1].get("role") != "assistant":
        path.pop()
    if not path:
        raise Misfit("no_answer", "no reply in the tree")
    yield Chat(check_messages([_node(item) for item in path]), {**record, **_facts(root)})
    yield from _forks(root, [], record)


def _best_path(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    here: Mapping[str, Any] | None = node
    while here is not None:
        yield here
        here = next(iter(_replies(here)), None)


def _forks(node: Mapping[str, Any], before: Messages, record: Mapping[str, Any]) -> Iterator[Pair]:
    path = [*before, _node(node)]
    replies = _replies(node)
    ranked = [(rank, r) for r in replies if r.get("role") == "assistant" and (rank := _rank(r)) is not None]
    if len(ranked) > 1 and ranked[0][0] < ranked[1][0] and path[-1]["role"] == "user":
        good, bad = (text_of(reply.get("text"), "reply") for _, reply in ranked[:2])
        if good != bad:
            yield pair_of(prompt_of(path), good, bad, {**record, **_facts(node)})
    for reply in replies:
        yield from _forks(reply, path, record)


def _replies(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The replies that stand, best rank first; unranked ones come last, in their order."""
    replies = node.get("replies") or []
    if not isinstance(replies, list):
        raise Misfit("content_type", f"replies are {type(replies).__name__}, not a list")
    standing = [r for r in map(mapping_of, replies) if not r.get("deleted") and r.get("review_result") is not False]
    return sorted(standing, key=lambda r: math.inf if (rank := _rank(r)) is None else rank)


def _rank(node: Mapping[str, Any]) -> float | None:
    rank = node.get("rank")
    return rank if isinstance(rank, int | float) and math.isfinite(rank) else None


def _node(node: Mapping[str, Any]) -> dict[str, str]:
    return {"role": sender_of(node.get("role")), "content": text_of(node.get("text"), "text")}


def _facts(node: Mapping[str, Any]) -> dict[str, Any]:
    """What an OASST message says of itself, in our names."""
    facts = {"lang": node.get("lang"), "created_at": node.get("created_date"), "user": node.get("user_id")}
    return {name: value for name, value in facts.items() if value is not None}
