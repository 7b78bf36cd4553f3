"""A released champion that is served, and an approved candidate whose Bento holds a small engine of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serving.app import Parts, create_app
from serving.arms import fleet
from serving.breaker import Breaker
from serving.history import SqliteHistory
from serving.upstream import Upstream
from stages import canary, deploy, promote, rollback
from stages.arms import engines, service
from stages.arms.watch import State, state_path
from tests.fakes import FakeEngine, served
from tests.serving.conftest import OPTIONS, RELEASE, parts_of
from thumbwheel.arms import Arm, Routing, read_routing, routing_path
from thumbwheel.bundle import bundle_hash
from thumbwheel.engine import free_port
from thumbwheel.lake import Pin, read_pin, write_json, write_pin
from thumbwheel.outbox import Outbox
from thumbwheel.processes import lease, leased
from thumbwheel.release import Release, read_release, write_release
from thumbwheel.settings import REPOSITORY, settings

ENGINE = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
says = json.loads(Path("release.json").read_text())["greeting"]
if says == "dies":
    sys.exit("no such weights")
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(503 if says == "breaks" else 200); self.end_headers()
        if not asked.get("stream"):
            choice = {"message": {"content": says}, "finish_reason": "stop"}
            return self.wfile.write(json.dumps({"choices": [choice], "usage": {}}).encode())
        for delta, finish in (({"content": says}, None), ({}, "stop")):
            event = {"choices": [{"delta": delta, "finish_reason": finish}]}
            self.wfile.write(b"data: " + json.dumps(event).encode() + b"\\n\\n")
        self.wfile.write(b"data: [DONE]\\n\\n")
    def log_message(self, *_):
        pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
PROMPTS = [f"What is number {n}?" for n in range(80)]


class Tracker:
    """A tracker that remembers what it was told; the real one takes seconds to begin."""

    MODEL = "thumbwheel-chat"

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.tags: dict[str, str] = {}
        self.artifacts: list[str] = []

    @contextmanager
    def stage_run(self, stage: str, params: object) -> Iterator[Tracker]:
        yield self

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.seen |= values

    def artifact(self, path: Path) -> None:
        self.artifacts.append(path.name)

    def tag(self, name: str, value: str) -> None:
        self.tags[name] = value

    def client(self) -> Tracker:
        return self

    def set_model_version_tag(self, model: str, version: str, name: str, value: str) -> None:
        self.tags[f"{model}/{version}.{name}"] = value


@dataclass
class World:
    """A service with its champion, version 1, and a candidate, version 2, that waits for its canary."""

    root: Path
    engine: FakeEngine
    patch: pytest.MonkeyPatch
    tracker: Tracker
    http: httpx.Client

    @property
    def release(self) -> Release:
        release = read_release()
        assert release is not None
        return release

    @property
    def routing(self) -> Routing:
        routing = read_routing()
        assert routing is not None
        return routing

    @property
    def state(self) -> State:
        return State.model_validate_json(state_path().read_text())

    def candidate(self, says: str = "Good day to you.") -> str:
        """Make version 2, whose engine says always the same, `breaks` or `dies`; return its bundle's hash."""
        bundle = judged(self.root, "two", 2)
        make_bento(self.root, "two", 2, bundle, says)
        self.options()
        return bundle

    def options(self, **changed: Any) -> None:
        """Write the parameters of the canary, small ones but for what is changed."""
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["canary"]
        criteria = [{**one, "margin": 0.2} for one in params["criteria"]]
        small = {"criteria": criteria, "poll_seconds": 0.1, "min_answers": 5, "steps": [0.3, 0.6]}
        (self.root / "params.yaml").write_text(yaml.safe_dump({"canary": {**params, **small, **changed}}))

    def watch(self) -> int:
        """Run the canary and return its status."""
        self.patch.setattr(sys, "argv", ["canary", "--approved-by", "Ada"])
        try:
            canary.main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    def ask(self, user: str = "somebody") -> dict[str, Any]:
        body = {"messages": [{"role": "user", "content": "Hello?"}], "user": user}
        answer = self.http.post("/v1/chat/completions", json=body)
        return dict(answer.raise_for_status().json())

    def engines(self, version: int = 2) -> set[int]:
        return {process.pid for process in leased(engines.purpose(version))}


def judged(root: Path, name: str, version: int) -> str:
    """Make a candidate as the stages before the release leave it; return its bundle's hash."""
    for folder in (root / "models" / "served", root / "store" / name):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(name)
    bundle = bundle_hash(root / "models" / "served")
    write_pin(Pin(stage="register", facts={"version": version, "bundle": bundle, "outcome": "pass"}))
    facts = {"version": version, "bundle": bundle, "bento": f"b:{name}", "bento_model": f"m:{name}"}
    write_pin(Pin(stage="package", facts={**facts, "path": f"store/{name}"}))
    return bundle


def make_bento(root: Path, name: str, version: int, bundle: str, says: str) -> None:
    """Put a Bento of the small engine into the store."""
    folder = settings().bentoml_home / "bentos" / "b" / name / "src"
    (folder / "serving" / "arms").mkdir(parents=True, exist_ok=True)
    (folder / "serving" / "arms" / "engine.py").write_text(ENGINE)
    (folder / "bentofile.yaml").write_text(f"labels: {{version: {version}}}\n")
    facts = {"version": version, "model": f"thumbwheel-chat/{version}", "bundle": bundle, "greeting": says}
    (folder / "release.json").write_text(RELEASE.model_copy(update=facts).model_dump_json())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty root without a tracker."""
    monkeypatch.setenv("THUMBWHEEL_ROOT", str(tmp_path))
    monkeypatch.setenv("THUMBWHEEL_STATE", str(tmp_path / ".thumbwheel"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    yield tmp_path
    settings.cache_clear()


@pytest.fixture
def world(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    from serving.arms.assembly import released

    for name in ("CHAT_PORT", "ENGINE_PORT"):
        monkeypatch.setenv(f"THUMBWHEEL_{name}", str(free_port()))
    settings.cache_clear()
    monkeypatch.setattr(fleet, "FOLLOW_SECONDS", 0.05)
    for module in (deploy, service, engines):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(canary, "held_out_prompts", lambda count: PROMPTS[:count])
    bundle = judged(place, "one", 1)
    make_bento(place, "one", 1, bundle, "I am the first.")
    champion = promote.candidate(read_pin("register"), read_pin("package"), "Ada")
    write_release(promote.succeed(None, champion))
    world = World(place, FakeEngine(), monkeypatch, Tracker(), httpx.Client(base_url=service.base_url(), timeout=60))
    monkeypatch.setattr(canary, "tracking", world.tracker)
    for module in (promote, rollback):
        monkeypatch.setattr(module, "set_aliases", lambda release: None)
    marked = subprocess.Popen(["sleep", "300"], env=lease(deploy.PURPOSE), start_new_session=True)
    write_json(deploy.record_path(), {"release": champion.model_dump(), "pid": marked.pid})
    engines.write_routing(Routing(champion=engines.arm_of(champion)))
    outbox, history = Outbox(settings().outbox_path), SqliteHistory(settings().state_dir / "history.db")

    def make(arm: Arm, living: Sequence[Parts]) -> Parts:
        assert arm.engine is not None
        return replace(
            living[0], release=released(arm), upstream=Upstream(arm.engine, Breaker(living[0].options.breaker))
        )

    def parts() -> Parts:
        first = RELEASE.model_copy(update={"version": 1, "model": "thumbwheel-chat/1", "bundle": bundle})
        own = parts_of(history, f"http://127.0.0.1:{settings().engine_port}", outbox, OPTIONS, place, make_arm=make)
        return replace(own, release=first, routing=routing_path(), ledger=settings().state_dir / "arms.db")

    with served(world.engine.app(), settings().engine_port), served(create_app(parts), settings().chat_port):
        yield world
    world.http.close()
    deploy.stop_service()
    marked.wait()


class Users(threading.Thread):
    """Users who ask one thing each, until they are told to stop; `thumb` rates what an arm said."""

    def __init__(self, world: World, thumb: Callable[[dict[str, Any]], str | None] = lambda answer: None) -> None:
        super().__init__(daemon=True)
        self.world, self.thumb, self.stopped = world, thumb, threading.Event()
        self.arms: dict[str, set[str]] = {}

    def run(self) -> None:
        number = 0
        while not self.stopped.is_set():
            number += 1
            answer = self.world.ask(f"user-{number}")
            self.arms.setdefault(answer["arm"], set()).add(answer["model"])
            if rating := self.thumb(answer):
                ids = {name: answer[name] for name in ("conversation_id", "message_id")}
                self.world.http.post("/v1/feedback", json={**ids, "rating": rating})

    def __enter__(self) -> Users:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.join(90)
