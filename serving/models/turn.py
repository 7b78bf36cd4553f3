"""One answer's way through the engines: a place at one of them, and the next one where it fails before it has begun."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio import to_thread

from serving import metrics
from serving.admission import Admission
from serving.models.routing import PRIMARY, Route, Try
from serving.models.shelf import Adapter, Shelf
from serving.openai_api import ApiError
from serving.upstream import Piece, UnknownModelError, Upstream, unavailable
from thumbwheel.errors import ThumbwheelError
from thumbwheel.records import ADAPTED

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """An engine, the model that it is asked for, and the name under which its replies are kept."""

    name: str
    model: str
    signs_as: str
    upstream: Upstream
    admission: Admission

    @property
    def is_free(self) -> bool:
        """Tell whether it could begin an answer now."""
        return not (self.admission.is_full or self.upstream.is_resting)


@dataclass(frozen=True)
class Wanted:
    """Who is to answer a request: the way through the engines, and the adapter where one was asked for."""

    route: Route
    adapter: Adapter | None = None

    @property
    def is_primary(self) -> bool:
        """Tell whether the release by itself has the first say."""
        return self.adapter is None and self.route.tries[0].engine == PRIMARY


class Turn:
    """One answer's way through the engines; it holds a place at one of them at a time."""

    def __init__(
        self, engines: Mapping[str, Engine], wanted: Wanted, place: AsyncExitStack, shelf: Shelf, patience: float
    ) -> None:
        self._engines, self._wanted, self._place, self._shelf, self._patience = engines, wanted, place, shelf, patience
        self._left, self._overload = list(wanted.route.tries), list(wanted.route.overload)
        self._engine, self._why = engines[PRIMARY], wanted.route.tries[0].why
        self._has_begun = False

    @property
    def model(self) -> str:
        """Return the name under which what is streamed now is kept."""
        adapter = self._wanted.adapter
        return f"{self._engine.signs_as}{ADAPTED}{adapter.served_name}" if adapter else self._engine.signs_as

    async def enter(self) -> bool:
        """Take a place at the next engine that has one; return False where none is left to ask.

        Raises:
            ApiError: 429, when the queue is full or the wait is over, and no other engine takes it.
        """
        await self._place.aclose()
        while self._left:
            one = self._left.pop(0)
            try:
                if await self._take(one):
                    return True
            except ApiError:
                if await self._take_first(self._overload):
                    return True
                metrics.SHED.inc()
                raise
        return False

    async def stream(self, payload: dict[str, Any], whole: bool) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of the first answer that begins; what has begun is never taken up by another engine.

        It is asked for `whole` only where no other engine could answer: silence shows in a stream alone.

        Raises:
            ApiError: as `Upstream.stream`, of the last engine that was asked.
        """
        while True:
            try:
                async with aclosing(self._source(payload, whole)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except ApiError as error:
                if self._has_begun or error.status not in (429, 503) or not await self._next(error):
                    raise

    async def _take(self, one: Try) -> bool:
        """Take a place: at the primary by its queue, elsewhere at once or not at all.

        An engine that rests is passed over, but for a primary that nobody stands in for: its refusal says for how long.
        """
        engine, is_primary = self._engines[one.engine], one.engine == PRIMARY
        if (engine.upstream.is_resting and self._has_others) if is_primary else not engine.is_free:
            return False
        await self._place.enter_async_context(engine.admission.place())
        self._engine, self._why = engine, one.why
        return True

    async def _take_first(self, tries: list[Try]) -> bool:
        while tries:
            if await self._take(tries.pop(0)):
                return True
        return False

    @property
    def _has_others(self) -> bool:
        """Tell whether one of the engines still to be asked could answer."""
        return any(self._engines[one.engine].is_free for one in self._left)

    async def _next(self, error: ApiError) -> bool:
        """Go on to the next engine: one that takes overload, where the one before was full, or else in their order."""
        failed = self._engine.name
        if error.status == 429:
            self._left, self._overload = [*self._overload, *self._left], []
        if not await self.enter():
            return False
        logger.warning("%s did not begin to answer (%s); asking %s", failed, error.message, self._engine.name)
        return True

    def _source(self, payload: dict[str, Any], whole: bool) -> AsyncGenerator[Piece, None]:
        if (adapter := self._wanted.adapter) is not None:
            return self._adapted(adapter, {**payload, "model": adapter.served_name}, whole)
        return self._begun({**payload, "model": self._engine.model}, whole)

    async def _adapted(self, adapter: Adapter, body: dict[str, Any], whole: bool) -> AsyncGenerator[Piece, None]:
        """Answer by an adapter; an engine that lacks it, as after a restart, is given it first."""
        for is_last in (False, True):
            try:
                async with aclosing(self._begun(body, whole)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except UnknownModelError:
                if is_last:
                    raise
                await self._engine.upstream.load_adapter(adapter.served_name, await self._files(adapter))

    async def _files(self, adapter: Adapter) -> Path:
        try:
            return await to_thread.run_sync(self._shelf.folder, adapter)
        except ThumbwheelError as error:
            raise unavailable(str(error)) from None

    async def _begun(self, body: dict[str, Any], whole: bool) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of an answer, which must begin in time where others could answer."""
        silence = self._patience if self._has_others else None
        source = self._engine.upstream.stream(body, whole=whole and silence is None)
        async with aclosing(source) as pieces:
            try:
                async with asyncio.timeout(silence):
                    first = await _opening(pieces)
            except TimeoutError:
                self._engine.upstream.fell_silent()
                raise unavailable(f"{self._engine.name} was silent for {silence:g} s") from None
            self._has_begun = True
            metrics.ROUTED.labels(self.model, self._why).inc()
            for piece in first:
                yield piece
            async for piece in pieces:
                yield piece


async def _opening(pieces: AsyncGenerator[Piece, None]) -> list[Piece]:
    """Return the pieces up to the first one that says or calls something, or with which the answer ends."""
    read: list[Piece] = []
    async for piece in pieces:
        read.append(piece)
        if piece.text or piece.calls or piece.finish:
            break
    return read
