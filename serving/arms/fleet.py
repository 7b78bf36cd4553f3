"""The arms that answer now: loaded as the routing names them, followed while the service runs, chosen by the user."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from serving import metrics
from serving.arms.assign import assign, unit_of
from serving.draft import Draft
from serving.entry import Guest
from serving.history import Reply
from serving.openai_api import ApiError, ChatRequest
from serving.orchestrator import Orchestrator
from serving.release import Release
from thumbwheel.arms import CANARY, CONTROL, Arm, Routing, read_routing
from thumbwheel.errors import ThumbwheelError
from thumbwheel.ledger import Entry, Ledger
from thumbwheel.records import ADAPTED, ELSEWHERE

if TYPE_CHECKING:
    from serving.app import Parts

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 0.5
"""How often the routing is looked at."""
DRAIN_SECONDS = 300
"""How long an arm that left the routing may go on with answers that it has begun."""


@dataclass(frozen=True)
class Answering:
    """An arm as it answers."""

    parts: Parts
    orchestrator: Orchestrator

    @property
    def release(self) -> Release:
        return self.orchestrator.release


@dataclass(frozen=True)
class Choice:
    """Who answers a request; `unit` is who is counted, None where the request tells nothing of the two arms.

    A request that names its model gets that one's answer, or none.
    """

    answering: Answering
    unit: str | None = None
    is_named: bool = False


class Fleet:
    """Every arm of one service; its own release answers alone until a routing says more.

    `make` puts the parts of another arm together, given those of the living ones; `orchestrate` lets parts answer.
    """

    def __init__(
        self,
        own: Parts,
        orchestrate: Callable[[Parts, Callable[[Draft], None]], Orchestrator],
        make: Callable[[Arm, Sequence[Parts]], Parts],
        path: Path,
        ledger: Ledger,
    ) -> None:
        self._orchestrate, self._make, self._path, self.ledger = orchestrate, make, path, ledger
        self._own = self.champion = self._answering(own)
        self.canary: Answering | None = None
        self._living: dict[Arm, Answering] = {}
        self._routing: Routing | None = None
        self._seen: tuple[int, int] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._noted = -math.inf

    async def start(self, on_champion: Callable[[Answering], None]) -> None:
        """Load what the routing names, and follow it from now on; `on_champion` is told who is champion."""
        self._on_champion = on_champion
        on_champion(self.champion)
        await self._purge()
        await self.look()
        self._run(self._follow())

    async def look(self) -> None:
        """Take over the routing, if it changed; one that cannot be followed leaves everything as it is."""
        if (seen := _state_of(self._path)) == self._seen:
            return
        self._seen = seen
        try:
            routing = read_routing(self._path)
            living = await to_thread.run_sync(self._loaded, routing)
        except (ThumbwheelError, OSError) as error:
            metrics.DEGRADED.labels("arms").set(1)
            logger.warning("the routing cannot be followed, all stays as it was: %s", error)
            return
        metrics.DEGRADED.labels("arms").set(0)
        await self._turn_to(routing, living)

    async def choose(self, request: ChatRequest, guest: Guest) -> Choice:
        """Return who answers: whom the request names, whom its conversation is with, or by the user's hash."""
        if request.model not in (None, self.champion.release.name):  # a version, or an adapter on the champion's bundle
            return Choice(self._named(str(request.model)) or self.champion, is_named=True)
        await self._note_asked()
        canary, routing = self.canary, self._routing
        if canary is None or routing is None:
            return Choice(self.champion)
        by_hash = assign(guest.user, routing.salt, routing.share)
        arm, is_new = by_hash, True
        if earlier := await self._earlier(request):
            arm = self._arm_of(earlier[-1].model.partition(ADAPTED)[0]) or by_hash
            is_new = earlier[0].created_at >= routing.began
        counts = is_new and arm == by_hash
        unit = unit_of(guest.user, routing.salt) if counts else None
        return Choice(canary if arm == CANARY else self.champion, unit)

    async def _note_asked(self) -> None:
        """Note that a user asks something, once in a while: the canary's watch counts idleness in minutes."""
        if time.monotonic() - self._noted > FOLLOW_SECONDS:
            self._noted = time.monotonic()
            await to_thread.run_sync(self.ledger.note_asked)

    def models(self) -> list[str]:
        """Return the names under which the arms answer, the champion's first."""
        return list(dict.fromkeys(one.release.model for one in (self.champion, *self._living.values())))

    def instead(self, choice: Choice, error: ApiError) -> Choice | None:
        """Return who answers after an arm broke: the champion, uncounted; None where nobody else may."""
        if error.status < 500 or choice.answering is self.champion or choice.is_named:
            return None
        metrics.FALLBACKS.labels(choice.answering.orchestrator.arm).inc()
        logger.warning("%s answers in the stead of %s", self.champion.release.model, choice.answering.release.model)
        return Choice(self.champion)

    def note(self, draft: Draft) -> None:
        """Enter a reply that counts into the ledger; one that another engine had to write is a failure of the arm's."""
        routing = self._routing
        if routing is None or routing.canary is None or draft.unit is None or draft.finish == "refused":
            return
        stands_in = draft.model.startswith(ELSEWHERE)
        if stands_in and not draft.wanted.is_primary:
            return
        guarded = draft.verdict is not None and draft.verdict.layer != "input"
        failed = draft.finish == "error" or stands_in
        facts = (draft.unit, draft.arm, draft.message_id, failed, guarded, draft.first_seconds)
        self.ledger.add(Entry(routing.salt, "live", *facts, time.time()))

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        kept: set[int] = set()
        for one in {id(one): one for one in (self._own, *self._living.values())}.values():
            await self._close(one, kept)
            kept.add(id(one.parts.retrieval))
        self.ledger.close()

    def _loaded(self, routing: Routing | None) -> dict[Arm, Answering]:
        """Return the arms that a routing names, those that live already as they are."""
        return {arm: self._living.get(arm) or self._new(arm) for arm in routing.arms()} if routing else {}

    def _new(self, arm: Arm) -> Answering:
        own = self._own.release
        if arm.engine is None and (arm.version, arm.bundle) == (own.version, own.bundle):
            return self._own
        parts = self._make(arm, [self._own.parts, *(one.parts for one in self._living.values())])
        logger.info("%s answers, too, with bundle %s", parts.release.model, parts.release.bundle[:12])
        return self._answering(parts)

    def _answering(self, parts: Parts) -> Answering:
        return Answering(parts, self._orchestrate(parts, self.note))

    async def _turn_to(self, routing: Routing | None, living: dict[Arm, Answering]) -> None:
        before, last = self._living, self.champion
        self._living, self._routing = living, routing
        self.champion = living[routing.champion] if routing else self._own
        self.canary = living[routing.canary] if routing and routing.canary else None
        for one in living.values():
            one.orchestrator.arm = CANARY if one is self.canary else CONTROL
        metrics.CANARY_SHARE.set(routing.share if routing and self.canary else 0)
        if self.champion is not last:
            logger.info("%s is champion now", self.champion.release.model)
            await self._purge()
        self._on_champion(self.champion)
        for arm, one in before.items():
            if arm not in living and one is not self._own:
                self._run(self._retire(one))

    async def _purge(self) -> None:
        if cache := self.champion.parts.cache:
            await cache.promoted(self.champion.release.model)

    async def _retire(self, answering: Answering) -> None:
        """Close an arm once the answers that it has begun are written."""
        end = time.monotonic() + DRAIN_SECONDS
        while answering.orchestrator.answering and time.monotonic() < end:
            await asyncio.sleep(FOLLOW_SECONDS)
        await self._close(answering, {id(one.parts.retrieval) for one in (self._own, *self._living.values())})

    async def _close(self, answering: Answering, kept: set[int]) -> None:
        parts = answering.parts
        await parts.memory.stop()
        if parts.retrieval and id(parts.retrieval) not in kept:
            await parts.retrieval.close()
        await parts.upstream.close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await self.look()
            except Exception:
                logger.exception("the routing could not be followed")

    async def _earlier(self, request: ChatRequest) -> list[Reply]:
        """Return the replies of the conversation that a request goes on with; none where it begins one."""
        history, name = self._own.parts.history, request.conversation_id
        if request.regenerate is not None:
            found = await to_thread.run_sync(history.find, request.regenerate)
            name = found.conversation_id if found else None
        return await to_thread.run_sync(history.conversation, name) if name else []

    def _named(self, model: str) -> Answering | None:
        return next((one for one in (self.champion, *self._living.values()) if one.release.model == model), None)

    def _arm_of(self, model: str) -> str | None:
        for one, arm in ((self.champion, CONTROL), (self.canary, CANARY)):
            if one and one.release.model == model:
                return arm
        return None

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
