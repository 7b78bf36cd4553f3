"""The pool: the release's engine with its adapters, the engines beside it, and who of them is to answer a request."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from serving import metrics
from serving.access import Caller
from serving.admission import Admission
from serving.breaker import Breaker
from serving.history import Messages
from serving.models.complexity import Kind, complexity, kind_of
from serving.models.counts import counts_of
from serving.models.options import FallbackOptions, ModelsOptions
from serving.models.routing import PRIMARY, Route, Try, only, route_of
from serving.models.shelf import Adapter, Shelf, adapter_shelf
from serving.models.turn import Engine, Turn, Wanted
from serving.openai_api import ApiError, unknown_model
from serving.options import AdmissionOptions, Options
from serving.release import Release
from serving.upstream import Upstream, unavailable
from thumbwheel.errors import SettingsError
from thumbwheel.records import ELSEWHERE

NO_TOOLS = (
    "the model that answers takes no tools: leave tools, calls and their results out, or serve a release that can call "
    "tools and set models.engine.tools in serving.yaml to its parser, or name a fallback with tools: true"
)


class Pool:
    """The release's engine with its adapters, and those that stand in for it."""

    def __init__(self, release: Release, options: ModelsOptions, engines: Sequence[Engine], shelf: Shelf) -> None:
        self.release, self.options, self.shelf = release, options, shelf
        self.engines = {engine.name: engine for engine in engines}
        self._was_ready = False

    def wanted(self, model: str | None, messages: Messages, caller: Caller, with_tools: bool) -> Wanted:
        """Return who is to answer a request: whoever takes it, or the very version or adapter that it names.

        Raises:
            ApiError: 404 for a model that is not there, or not for this caller; 400 where nobody takes its tools.
        """
        wanted = self._wanted(model, messages, caller)
        if not with_tools:
            return wanted
        route = only(wanted.route, self._tool_engines())
        if not route.tries:
            raise ApiError(400, NO_TOOLS, "tools_not_supported", "tools")
        return Wanted(route, wanted.adapter)

    def offered(self, caller: Caller) -> list[str]:
        """Return the names of the models that a caller may ask for, the release first."""
        return [self.release.model, *(one.name for one in self._adapters() if one.is_for(caller.tier, caller.tenant))]

    @asynccontextmanager
    async def turn(self, wanted: Wanted) -> AsyncIterator[Turn]:
        """Hold a place at the first engine that has one, for the length of a `with` block.

        Raises:
            ApiError: 429 with Retry-After, when the queue is full or the wait is over, and no other engine takes it;
                503 where those that may take it rest or are full.
        """
        async with AsyncExitStack() as place:
            turn = Turn(self.engines, wanted, place, self.shelf, self.options.first_token_seconds)
            if not await turn.enter():
                raise unavailable("no engine that takes this request has a place")
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

    def _wanted(self, model: str | None, messages: Messages, caller: Caller) -> Wanted:
        if model not in (None, self.release.name):
            adapter = None if model == self.release.model else self._adapter(str(model), caller)
            return Wanted(Route((Try(PRIMARY, "asked"),)), adapter)
        return Wanted(route_of(self.options.fallbacks, self._kind(messages), caller.tenant is not None))

    def _kind(self, messages: Messages) -> Kind | None:
        """Return what kind of request this is, where there is anybody to choose from."""
        if not self.options.fallbacks:
            return None
        return kind_of(complexity(messages, self.options.complexity), self.options.complexity)

    def _tool_engines(self) -> list[str]:
        own = [PRIMARY] if self.options.engine.tools is not None else []
        return [*own, *(one.name for one in self.options.fallbacks if one.tools)]

    def _adapter(self, name: str, caller: Caller) -> Adapter:
        found = next((one for one in self._adapters() if one.name == name), None)
        if found is None or not found.is_for(caller.tier, caller.tenant):
            raise unknown_model(name)
        return found

    def _adapters(self) -> list[Adapter]:
        """Return the adapters that were made for the bundle which is served; none where the engine has no room."""
        if self.options.engine.adapters is None:
            return []
        return [one for one in self.shelf.read().values() if one.bundle == self.release.bundle]


def make_pool(
    options: Options, release: Release, upstream: Upstream, admission: Admission, fallbacks: Sequence[Engine]
) -> Pool:
    """Return the pool of a release: its engine with the queue in front, and the engines that all releases share."""
    primary = Engine(PRIMARY, release.model, release.model, upstream, admission)
    return Pool(release, options.models, [primary, *fallbacks], adapter_shelf())


def make_fallbacks(options: Options) -> list[Engine]:
    """Return the engines beside the releases' own, each with its places; all arms of a service share them.

    Raises:
        SettingsError: the variable that holds an engine's key is not set.
    """
    return [_fallback(one, options) for one in options.models.fallbacks]


def _fallback(one: FallbackOptions, options: Options) -> Engine:
    if one.key is not None and not os.environ.get(one.key):
        raise SettingsError(f"serving.yaml: the key of '{one.name}' is to be in {one.key}, which is not set.")
    upstream = Upstream(one.url, Breaker(options.breaker), os.environ[one.key] if one.key else None)
    places = {"answers": one.answers, "waiting": 0}
    admission = Admission(AdmissionOptions(**{**options.admission.model_dump(), **places}))
    return Engine(one.name, one.model, f"{ELSEWHERE}{one.name}/{one.model}", upstream, admission)
