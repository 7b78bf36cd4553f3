"""A service of two arms over two fake engines, routed as a test says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from serving.app import Parts, create_app
from serving.arms import fleet
from serving.breaker import Breaker
from serving.history import SqliteHistory
from serving.release import Release
from serving.upstream import Upstream
from tests.fakes import FakeEngine, fake_engine, served
from tests.serving.conftest import OPTIONS, RELEASE, Chat, parts_of
from tests.waiting import eventually
from thumbwheel.arms import Arm, Routing
from thumbwheel.errors import ReleaseError
from thumbwheel.lake import write_json
from thumbwheel.ledger import Ledger
from thumbwheel.outbox import Outbox

CHALLENGER = RELEASE.model_copy(update={"version": 4, "model": "thumbwheel-chat/4", "bundle": "c" * 64})
SALT = "a canary"


@dataclass
class Arms(Chat):
    """A running service, the engine of its challenger, and the place of its routing."""

    other: FakeEngine
    folder: Path

    def arm(self, release: Release = RELEASE) -> Arm:
        engine = None if release is RELEASE else self.other.url
        return Arm(version=release.version, bundle=release.bundle, bento=f"b:{release.version}", engine=engine)

    def route(self, share: float = 1.0, **changed: object) -> None:
        """Let the challenger answer a share of the users, and wait until the service does so."""
        whole = Routing(
            champion=self.arm(), canary=self.arm(CHALLENGER), share=share, salt=SALT, began="2026-01-01T00:00:00Z"
        )
        self.write(whole.model_copy(update=changed))

    def write(self, routing: Routing) -> None:
        write_json(self.folder / "arms.json", routing.model_dump())
        shown = [f"thumbwheel-chat/{arm.version}" for arm in routing.arms()]
        assert eventually(lambda: self.models() == shown and self.share() == routing.share)

    def models(self) -> list[str]:
        names = [one["id"] for one in self.http.get("/v1/models").json()["data"]]
        names.remove(RELEASE.name)
        return names

    def share(self) -> float:
        lines = self.http.get("/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith("thumbwheel_canary_share "))

    def ledger(self) -> Ledger:
        return Ledger(self.folder / "arms.db")


@contextmanager
def two_arms(folder: Path) -> Iterator[Arms]:
    """Serve two arms for the length of a `with` block."""
    with fake_engine() as engine, fake_engine() as other:
        outbox, history = Outbox(folder / "outbox.db"), SqliteHistory(folder / "history.db")

        def make(arm: Arm, living: Sequence[Parts]) -> Parts:
            if arm.bento == "b:missing":
                raise ReleaseError("no such Bento")
            assert arm.engine is not None
            return replace(living[0], release=CHALLENGER, upstream=Upstream(arm.engine, Breaker(OPTIONS.breaker)))

        app = create_app(lambda: parts_of(history, engine.url, outbox, OPTIONS, folder, make_arm=make))
        with served(app) as url, httpx.Client(base_url=url, timeout=60) as http:
            yield Arms(url, engine, outbox, http, other, folder)


@pytest.fixture
def arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arms]:
    monkeypatch.setattr(fleet, "FOLLOW_SECONDS", 0.02)
    with two_arms(tmp_path) as arms:
        yield arms
