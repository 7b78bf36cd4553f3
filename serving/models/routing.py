"""Who answers a request: the engines to ask in their order, from its complexity and what each engine takes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from serving.models.complexity import Kind
from serving.models.options import FallbackOptions

PRIMARY = "primary"
"""The release's own engine; no fallback can be named so."""
Why = Literal["primary", "asked", "simple", "complex", "overload", "failure"]


@dataclass(frozen=True)
class Try:
    """An engine by its name, and why it is asked."""

    engine: str
    why: Why


@dataclass(frozen=True)
class Route:
    """Engines to ask one after another until one begins to answer, and those to ask where the queue is full."""

    tries: tuple[Try, ...]
    overload: tuple[Try, ...] = ()


def route_of(fallbacks: Sequence[FallbackOptions], kind: Kind | None, for_tenant: bool) -> Route:
    """Return the route of a request: engines that take its kind, the primary, engines that take failures.

    On behalf of a tenant only trusted engines are asked, for the prompt may hold that tenant's documents.
    """
    allowed = [one for one in fallbacks if one.trusted or not for_tenant]
    ahead = [Try(one.name, kind) for one in allowed if kind in one.takes] if kind else []
    behind = [Try(one.name, "failure") for one in allowed if "failure" in one.takes]
    full = [Try(one.name, "overload") for one in allowed if "overload" in one.takes]
    return Route(tuple(_once([*ahead, Try(PRIMARY, "primary"), *behind])), tuple(full))


def only(route: Route, able: Collection[str]) -> Route:
    """Return a route with those of its engines that are able to do what is asked."""
    return Route(*(tuple(one for one in tries if one.engine in able) for tries in (route.tries, route.overload)))


def _once(tries: Iterable[Try]) -> list[Try]:
    seen: dict[str, Try] = {}
    for one in tries:
        seen.setdefault(one.engine, one)
    return list(seen.values())
