"""Calls as they stream, in OpenAI's deltas: put together, and taken apart again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from serving.history import Call


@dataclass(frozen=True)
class Fragment:
    """A part of the call at place `index`; `id` and `name` come with its first one, `arguments` piece by piece."""

    index: int
    id: str | None
    name: str | None
    arguments: str

    def delta(self) -> dict[str, Any]:
        """Return the fragment as an item of a delta's `tool_calls`."""
        told: dict[str, Any] = {"arguments": self.arguments}
        if self.id is None:
            return {"index": self.index, "function": told}
        return {"index": self.index, "id": self.id, "type": "function", "function": {"name": self.name, **told}}


Fragments = tuple[Fragment, ...]


def fragments_of(told: list[dict[str, Any]]) -> Fragments:
    """Return the calls of an engine's message, whole or a delta; where they bear no index they stand in order."""
    return tuple(_fragment(place, call) for place, call in enumerate(told))


def in_parts(calls: list[Call]) -> Fragments:
    """Return whole calls as OpenAI streams them: who is called, then with what."""
    parts = ((place, call["id"], call["function"]) for place, call in enumerate(calls))
    return tuple(
        part
        for place, id, function in parts
        for part in (Fragment(place, id, function["name"], ""), Fragment(place, None, None, function["arguments"]))
    )


def whole_calls(fragments: Iterable[Fragment]) -> list[Call]:
    """Return the calls that fragments are of, by their index."""
    calls: dict[int, Call] = {}
    for part in fragments:
        call = calls.setdefault(part.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call["id"] = call["id"] or part.id or ""
        call["function"]["name"] = call["function"]["name"] or part.name or ""
        call["function"]["arguments"] += part.arguments
    return [calls[index] for index in sorted(calls)]


def _fragment(place: int, call: dict[str, Any]) -> Fragment:
    function = call.get("function") or {}
    index = call.get("index")
    return Fragment(
        place if index is None else int(index), call.get("id"), function.get("name"), function.get("arguments") or ""
    )
