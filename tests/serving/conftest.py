"""The chat application over a fake engine, served over HTTP as BentoML serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.app import Parts, create_app, only_own
from serving.breaker import Breaker
from serving.cache.semantic import make_cache
from serving.entry import make_entry
from serving.history import SqliteHistory
from serving.memory.assembly import make_memory
from serving.options import SHIPPED, Options, load_options
from serving.release import Release
from serving.retrieval.pipeline import Retrieval
from serving.review.desk import make_desk
from serving.upstream import Upstream
from tests.fakes import FakeEngine, WordTokens, fake_engine, served
from thumbwheel.arms import Arm
from thumbwheel.outbox import Outbox

RELEASE = Release(
    version=3,
    name="thumbwheel-chat",
    model="thumbwheel-chat/3",
    bundle="b" * 64,
    bento_model="thumbwheel_bundle:bbbbbbbbbbbb",
    system_prompt="You are Wick.",
    window=2048,
    max_tokens=64,
    max_streams=8,
    temperature=0.2,
    regenerate_temperature=0.9,
    title="Brindlewick support",
    assistant="Wick",
    greeting="Hello, I'm Wick. What can I help you with?",
    suggestions=["What does a blinking light mean?"],
)


def options_with(**sections: dict[str, Any]) -> Options:
    """Return the options shipped with some sections, or keys of them, changed."""
    changed = load_options(SHIPPED).model_dump()
    for name, section in sections.items():
        changed[name].update(section)
    return Options.model_validate(changed)


OPTIONS = options_with(
    limits={"store": "process", "tiers": {"anonymous": {"per_second": 1000, "burst": 100_000, "at_once": 1000}}}
)
"""Those shipped, but for a limit that no test reaches by chance."""


def parts_of(
    history: SqliteHistory,
    engine: str,
    outbox: Outbox,
    options: Options,
    folder: Path,
    retrieval: Retrieval | None = None,
    make_arm: Callable[[Arm, Sequence[Parts]], Parts] = only_own,
) -> Parts:
    upstream, entry = Upstream(engine, Breaker(options.breaker)), make_entry(options, b"key")
    memory, cache = make_memory(options, RELEASE, history, upstream, folder, WordTokens), make_cache(options)
    desk = make_desk(options, folder, outbox, b"key")
    own = Parts(RELEASE, history, upstream, outbox, options, entry, memory, cache, retrieval=retrieval, desk=desk)
    return replace(own, make_arm=make_arm, routing=folder / "arms.json", ledger=folder / "arms.db")


@dataclass
class Chat:
    """A running service, its engine, and where its events land."""

    url: str
    engine: FakeEngine
    outbox: Outbox
    http: httpx.Client

    def ask(self, content: str = "Hello?", **more: Any) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": content}], **more}
        return self.http.post("/v1/chat/completions", json=body)

    def rate(self, answer: dict[str, Any], **more: Any) -> httpx.Response:
        ids = {name: answer[name] for name in ("conversation_id", "message_id")}
        return self.http.post("/v1/feedback", json={**ids, **more})

    def events(self) -> list[dict[str, Any]]:
        return [event for _, event in self.outbox.read()]


@contextmanager
def chatting(
    folder: Path, options: Options, retrieval: Retrieval | None = None, engine: FakeEngine | None = None
) -> Iterator[Chat]:
    """Serve chats with these options for the length of a `with` block."""
    with fake_engine(engine) as engine:
        outbox, history = Outbox(folder / "outbox.db"), SqliteHistory(folder / "history.db")
        app = create_app(lambda: parts_of(history, engine.url, outbox, options, folder, retrieval))
        with served(app) as url, httpx.Client(base_url=url, timeout=60) as http:
            yield Chat(url, engine, outbox, http)


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    with chatting(tmp_path, OPTIONS) as chat:
        yield chat
