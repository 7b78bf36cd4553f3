"""The pool of engines: a place at one for each answer, and the next one where it fails before it has begun."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio import to_thread

from serving import metrics
from serving.access import Caller
from serving.admission import Admission
from serving.breaker import Breaker
from serving.history import Messages
from serving.models.complexity import complexity, kind_of
from serving.models.counts import counts_of
from serving.models.options import FallbackOptions, ModelsOptions
from serving.models.routing import PRIMARY, Route, Try, route_of
from serving.models.shelf import Adapter, Shelf, adapter_shelf
from serving.openai_api import ApiError
from serving.options import AdmissionOptions, Options
from serving.release import Release
from serving.upstream import Piece, UnknownModelError, Upstream, unavailable
from thumbwheel.errors import SettingsError, ThumbwheelError
from thumbwheel.records import ADAPTED, ELSEWHERE

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


class Pool:
    """The release's engine with its adapters, and those that stand in for it."""

    def __init__(self, release: Release, options: ModelsOptions, engines: Sequence[Engine], shelf: Shelf) -> None:
        self.release, self.options, self.shelf = release, options, shelf
        self.engines = {engine.name: engine for engine in engines}
        self._was_ready = False

    def wanted(self, model: str | None, messages: Messages, caller: Caller) -> Wanted:
        """Return who is to answer a request.

        Raises:
            ApiError: 404 for a model that is not there, or not for this caller.
        """
        if model not in (None, self.release.name, self.release.model):
            return Wanted(Route((Try(PRIMARY, "asked"),)), self._adapter(str(model), caller))
        kind = kind_of(complexity(messages, self.options.complexity), self.options.complexity)
        return Wanted(route_of(self.options.fallbacks, kind, caller.tenant is not None))

    def offered(self, caller: Caller) -> list[str]:
        """Return the names of the models that a caller may ask for, the release first."""
        return [self.release.model, *(one.name for one in self._adapters() if one.is_for(caller.tier, caller.tenant))]

    @asynccontextmanager
    async def turn(self, wanted: Wanted) -> AsyncIterator[Turn]:
        """Hold a place at the first engine that has one, for the length of a `with` block.

        Raises:
            ApiError: 429 with Retry-After, when the queue is full or the wait is over, and no other engine takes it.
        """
        async with AsyncExitStack() as place:
            turn = Turn(self, wanted, place)
            await turn.enter()
            yield turn

    async def is_ready(self) -> bool:
        """Tell whether the release's engine answers, or, once it has, another that takes failures may."""
        if await self.engines[PRIMARY].upstream.is_ready():
            self._was_ready = True
            return True
        behind = [self.engines[one.name] for one in self.options.fallbacks if "failure" in one.takes]
        return self._was_ready and any(not engine.upstream.is_resting for engine in behind)

    async def observe(self) -> None:
        """Bring the metrics of the engines up to date: who rests, and what vLLM counts of its caches and guesses."""
        for name, engine in self.engines.items():
            metrics.RESTING.labels(name).set(engine.upstream.is_resting)
        for what, tokens in counts_of(await self.engines[PRIMARY].upstream.metrics()).items():
            metrics.ENGINE_TOKENS.labels(what).set(tokens)

    async def close(self) -> None:
        """Close the clients of the engines beside the release's own."""
        for name, engine in self.engines.items():
            if name != PRIMARY:
                await engine.upstream.close()

    def _adapter(self, name: str, caller: Caller) -> Adapter:
        found = next((one for one in self._adapters() if one.name == name), None)
        if found is None or not found.is_for(caller.tier, caller.tenant):
            raise ApiError(404, f"the model '{name}' does not exist", "model_not_found", "model")
        return found

    def _adapters(self) -> list[Adapter]:
        """Return the adapters that were made for the bundle which is served; none where the engine has no room."""
        if self.options.engine.adapters is None:
            return []
        return [one for one in self.shelf.read().values() if one.bundle == self.release.bundle]


class Turn:
    """One answer's way through the engines; it holds a place at one of them at a time."""

    def __init__(self, pool: Pool, wanted: Wanted, place: AsyncExitStack) -> None:
        self._pool, self._wanted, self._place = pool, wanted, place
        self._left, self._overload = list(wanted.route.tries), list(wanted.route.overload)
        self._engine, self._why = pool.engines[PRIMARY], wanted.route.tries[0].why
        self._has_begun = False

    @property
    def model(self) -> str:
        """Return the name under which what is streamed now is kept."""
        adapter = self._wanted.adapter
        return f"{self._engine.signs_as}{ADAPTED}{adapter.served_name}" if adapter else self._engine.signs_as

    async def enter(self) -> bool:
        """Take a place at the next engine that has one; return False where none is left to ask.

        Raises:
            ApiError: 429, as `Pool.turn`.
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

    async def stream(self, payload: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of the first answer that begins; what has begun is never taken up by another engine.

        Raises:
            ApiError: as `Upstream.stream`, of the last engine that was asked.
        """
        while True:
            try:
                async with aclosing(self._source(payload)) as pieces:
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
        engine, is_primary = self._pool.engines[one.engine], one.engine == PRIMARY
        if (not engine.is_free and not is_primary) or (engine.upstream.is_resting and self._has_others):
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
        return any(self._pool.engines[one.engine].is_free for one in self._left)

    async def _next(self, error: ApiError) -> bool:
        """Go on to the next engine: one that takes overload, where the one before was full, or else in their order."""
        failed = self._engine.name
        if error.status == 429:
            self._left, self._overload = [*self._overload, *self._left], []
        if not await self.enter():
            return False
        logger.warning("%s did not begin to answer (%s); asking %s", failed, error.message, self._engine.name)
        return True

    def _source(self, payload: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        if (adapter := self._wanted.adapter) is not None:
            return self._adapted(adapter, {**payload, "model": adapter.served_name})
        return self._begun({**payload, "model": self._engine.model})

    async def _adapted(self, adapter: Adapter, body: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        """Answer by an adapter; an engine that lacks it, as after a restart, is given it first."""
        for is_last in (False, True):
            try:
                async with aclosing(self._begun(body)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except UnknownModelError:
                if is_last:
                    raise
                await self._engine.upstream.load_adapter(adapter.served_name, await self._files(adapter))

    async def _files(self, adapter: Adapter) -> Path:
        try:
            return await to_thread.run_sync(self._pool.shelf.folder, adapter)
        except ThumbwheelError as error:
            raise unavailable(str(error)) from None

    async def _begun(self, body: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        """Yield the pieces from the first one that says something, which must come in time where others could answer."""
        silence = self._pool.options.first_token_seconds if self._has_others else None
        async with aclosing(self._engine.upstream.stream(body)) as pieces:
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


def make_pool(options: Options, release: Release, upstream: Upstream, admission: Admission) -> Pool:
    """Return the pool that the options ask for, the release's engine and its queue in front.

    Raises:
        SettingsError: the variable that holds an engine's key is not set.
    """
    primary = Engine(PRIMARY, release.model, release.model, upstream, admission)
    others = [_fallback(one, options) for one in options.models.fallbacks]
    return Pool(release, options.models, [primary, *others], adapter_shelf())


def _fallback(one: FallbackOptions, options: Options) -> Engine:
    if one.key is not None and not os.environ.get(one.key):
        raise SettingsError(
            f"serving.yaml: the key of the engine '{one.name}' is to be in {one.key}, which is not set."
        )
    upstream = Upstream(one.url, Breaker(options.breaker), os.environ[one.key] if one.key else None)
    places = {"answers": one.answers, "waiting": 0}
    admission = Admission(AdmissionOptions(**{**options.admission.model_dump(), **places}))
    return Engine(one.name, one.model, f"{ELSEWHERE}{one.name}/{one.model}", upstream, admission)


async def _opening(pieces: AsyncGenerator[Piece, None]) -> list[Piece]:
    """Return the pieces up to the first one with text, or with which the answer ends."""
    read: list[Piece] = []
    async for piece in pieces:
        read.append(piece)
        if piece.text or piece.finish:
            break
    return read
