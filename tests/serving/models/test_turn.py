"""Whatever engines do, an answer is of one of them, and of the first in the order that began it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from serving.admission import Admission
from serving.models.routing import PRIMARY, Route, Try
from serving.models.shelf import Shelf
from serving.models.turn import Engine, Turn, Wanted
from serving.openai_api import ApiError
from serving.upstream import Piece, Upstream
from tests.idle_clock import run_idle
from tests.serving.conftest import OPTIONS

STATUS = {"refuses": 400, "full": 429, "down": 503, "dies": 503}
DEEDS = st.lists(st.sampled_from(["answers", "hangs", *STATUS]), min_size=1, max_size=4)


class Acting:
    """An engine that does one thing, and counts how often it is asked."""

    is_resting = False

    def __init__(self, name: str, deed: str) -> None:
        self.name, self.deed, self.asked, self.silences = name, deed, 0, 0

    async def stream(self, payload: dict[str, Any], whole: bool) -> AsyncGenerator[Piece, None]:
        self.asked += 1
        if self.deed == "hangs" and not whole:
            await asyncio.sleep(0.2)
        yield Piece()
        if self.deed in ("answers", "hangs", "dies"):
            yield Piece(self.name)
            yield Piece(self.name)
        if self.deed in STATUS:
            raise ApiError(STATUS[self.deed], self.name, "code")
        yield Piece("", "stop")

    def fell_silent(self) -> None:
        self.silences += 1


def engine(acting: Acting) -> Engine:
    upstream = cast(Upstream, acting)
    return Engine(acting.name, "model", f"by {acting.name}", upstream, Admission(OPTIONS.admission))


async def run(actors: list[Acting], wanted: Wanted) -> tuple[list[str], set[str], ApiError | None]:
    """Return the texts that were streamed, under which names, and how it ended."""
    texts, names = list[str](), set[str]()
    engines = {one.name: engine(one) for one in actors}
    async with AsyncExitStack() as place:
        turn = Turn(engines, wanted, place, Shelf(Path("none")), patience=0.02)
        await turn.enter()
        try:
            async for piece in turn.stream({}, whole=True):
                texts += [piece.text] if piece.text else []
                names.add(turn.model)
        except ApiError as error:
            return texts, names, error
    return texts, names, None


def expected(actors: list[Acting]) -> tuple[str, str]:
    """Return who has the last word, and what they do: the first one that does not fail before it begins."""
    for number, one in enumerate(actors):
        is_last = number == len(actors) - 1
        if one.deed in ("answers", "dies", "refuses") or is_last:
            return one.name, one.deed
    raise AssertionError


@given(DEEDS, st.integers(0, 3))
def test_an_answer_is_of_the_first_engine_that_begins_and_of_no_other(deeds: list[str], place: int) -> None:
    place = min(place, len(deeds) - 1)
    names = [PRIMARY if number == place else f"e{number}" for number in range(len(deeds))]
    actors = [Acting(name, deed) for name, deed in zip(names, deeds, strict=True)]
    wanted = Wanted(Route(tuple(Try(name, "failure") for name in names)))
    texts, signed, error = run_idle(run(actors, wanted))
    who, deed = expected(actors)
    assert texts == ([who] * 2 if deed in ("answers", "hangs", "dies") else [])
    assert (error.status if error else None) == STATUS.get(deed)
    assert signed <= {f"by {who}"}
    assert all(one.asked <= 1 for one in actors)
    assert all(one.silences == (one.deed == "hangs" and one.name != who) * one.asked for one in actors)
