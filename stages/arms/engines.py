"""The arms beside a running service: their engines started and stopped, and the routing changed, one hand at a time."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from thumbwheel.arms import Arm, Routing, read_routing, routing_path
from thumbwheel.engine import free_port
from thumbwheel.errors import ReleaseError
from thumbwheel.lake import write_json
from thumbwheel.processes import lease, leased, stop, tree
from thumbwheel.release import Released
from thumbwheel.settings import settings

logger = logging.getLogger(__name__)

SERVICE = "chat"
"""What the service's processes run for; an arm's engine runs for a part of it."""
POLL_SECONDS = 0.5
STOP_SECONDS = 25
DRAIN_SECONDS = 240
"""How long an engine that nobody new is answered by may go on; as admission.answer_seconds of serving.yaml."""
NAMES_THE_RELEASE = ("release.json", "bentofile.yaml")
"""Files of a Bento that differ with the release though its code is the same."""


def arm_of(release: Released, engine: str | None = None) -> Arm:
    """Return a release as an arm."""
    return Arm(version=release.version, bundle=release.bundle, bento=release.bento, engine=engine)


def write_routing(routing: Routing) -> None:
    """Write the routing, whole or not at all; the running service follows within a second."""
    write_json(routing_path(), routing.model_dump())


@contextmanager
def changing_routing() -> Iterator[Routing | None]:
    """Hold the routing for a change, and yield it as it is; whoever else wants to change it waits."""
    settings().state_dir.mkdir(parents=True, exist_ok=True)
    with (settings().state_dir / "arms.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield read_routing()


def change_routing(change: Callable[[Routing], Routing]) -> Routing:
    """Change the routing by a function of what it is.

    Raises:
        ReleaseError: there is none: the service was started before there were arms; deploy again.
    """
    with changing_routing() as routing:
        if routing is None:
            raise ReleaseError("the running service has no arms; deploy again: python -m stages.deploy.")
        write_routing(after := change(routing))
        return after


def put_first(routing: Routing, bento: str) -> Routing | None:
    """Return the routing with an arm that lives already as champion and the old one as previous; None without it."""
    if routing.champion.bento == bento:
        return routing.without_canary()
    found = next((arm for arm in routing.arms() if arm.bento == bento), None)
    return Routing(champion=found, previous=routing.champion) if found else None


def bento_sources(release: Released) -> Path:
    """Return where the sources of a release's Bento lie.

    Raises:
        ReleaseError: it is not in the store.
    """
    folder = settings().bentoml_home.resolve() / "bentos" / release.bento.replace(":", "/") / "src"
    if not folder.is_dir():
        raise ReleaseError(f"the Bento {release.bento} is not in {settings().bentoml_home}; run: dvc repro package.")
    return folder


def service_environment(release: Released, purpose: str) -> dict[str, str]:
    """Return the environment of a process that runs a release's code, marked by what it runs for."""
    settings_ = settings()
    fixed = {
        **lease(purpose),
        "BENTOML_HOME": str(settings_.bentoml_home.resolve()),
        "BENTOML_DO_NOT_TRACK": "True",
        "SPT_NOENV": "1",
        "THUMBWHEEL_ROOT": str(settings_.root.resolve()),
        "THUMBWHEEL_STATE": str(settings_.state_dir.resolve()),
        "THUMBWHEEL_OUTBOX": str(settings_.outbox_path.resolve()),
        "PYTHONPATH": str(bento_sources(release)),
    }
    return {**os.environ, **fixed}


def same_code(one: Released, other: Released) -> bool:
    """Tell whether two Bentos differ in their release alone, so that the code of either can serve both."""
    try:
        first, second = (_code(bento_sources(release)) for release in (one, other))
    except ReleaseError:
        return False
    return first == second


def knows_arms(release: Released) -> bool:
    """Tell whether the code of a release's Bento can answer with several arms."""
    try:
        return (bento_sources(release) / "serving" / "arms" / "engine.py").is_file()
    except ReleaseError:
        return False


def start_engine(release: Released) -> Arm:
    """Start a release's engine beside the service, from its own Bento, and return the arm once the engine is ready.

    The engine refuses any bundle but the one that was judged. It outlives us, as the service does.

    Raises:
        ReleaseError: it ended, or was not ready in THUMBWHEEL_ENGINE_START_SECONDS; nothing of it is left.
    """
    port = free_port()
    process = launch(release, port)
    try:
        _wait_ready(process, arm := arm_of(release, f"http://127.0.0.1:{port}"))
    except ReleaseError:
        stop_engine(release.version)
        raise
    return arm


def launch(release: Released, port: int) -> subprocess.Popen[bytes]:
    """Start a release's engine on a port, in a session of its own."""
    path = log_path(release.version)
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.info("starting the engine of version %d (%s); its log is %s", release.version, release.bento, path)
    with path.open("ab") as sink:
        return subprocess.Popen(
            [sys.executable, "-m", "serving.arms.engine", str(port)],
            cwd=bento_sources(release),
            env=service_environment(release, purpose(release.version)),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )


def purpose(version: int) -> str:
    """Return what the engine of an arm runs for."""
    return f"{SERVICE}/arm-{version}"


def log_path(version: int) -> Path:
    """Return the log of an arm's engine."""
    return settings().state_dir / "logs" / f"arm-{version}.log"


def is_ready(arm: Arm) -> bool:
    """Tell whether an arm's engine answers its health check."""
    try:
        return httpx.get(f"{_url(arm)}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def stop_engine(version: int) -> int:
    """Stop what runs of an arm's own engine; return how many processes there were."""
    count = 0
    while processes := leased(purpose(version)):
        count += stop(processes, STOP_SECONDS)
    return count


def drain(arm: Arm) -> None:
    """Wait until an engine writes no answer any more, for a while; one that does not say is given a second.

    Nobody new may be answered by it: the running service has followed a routing without it.
    """
    time.sleep(1)
    end = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < end and _running(arm):
        time.sleep(POLL_SECONDS)


def retire(before: Routing, routing: Routing) -> None:
    """Stop every engine that the routing does not name, the service's own among them, once it has ended its answers."""
    for arm in before.arms():
        if arm not in routing.arms():
            drain(arm)
    kept = {purpose(arm.version) for arm in routing.arms() if arm.engine}
    for process in leased(SERVICE):
        mark = _purpose_of(process)
        if mark != SERVICE and mark not in kept:
            stop(tree(process.pid), STOP_SECONDS)
    if all(arm.engine for arm in routing.arms()):
        for process in leased(SERVICE):
            if _purpose_of(process) == SERVICE and _is_keeper(process):
                stop(tree(process.pid), STOP_SECONDS)


def _wait_ready(process: subprocess.Popen[bytes], arm: Arm) -> None:
    limit = settings().engine_start_seconds
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ReleaseError(f"the engine of version {arm.version} ended: {tail(log_path(arm.version))}")
        if is_ready(arm):
            return
        time.sleep(POLL_SECONDS)
    raise ReleaseError(
        f"the engine of version {arm.version} was not ready in {limit} s (THUMBWHEEL_ENGINE_START_SECONDS); "
        f"see {log_path(arm.version)}."
    )


def tail(path: Path, characters: int = 600) -> str:
    """Return the last lines of a log as one."""
    text = path.read_text(errors="replace") if path.exists() else ""
    lines = [line for line in text[-4 * characters :].splitlines() if line.strip()]
    return " | ".join(lines)[-characters:]


def _url(arm: Arm) -> str:
    return arm.engine or f"http://127.0.0.1:{settings().engine_port}"


def _running(arm: Arm) -> bool:
    try:
        text = httpx.get(f"{_url(arm)}/metrics", timeout=5).text
    except httpx.HTTPError:
        return False
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running")]
    return any(float(line.rpartition(" ")[2]) > 0 for line in lines)


def _code(folder: Path) -> dict[str, bytes]:
    record = json.loads((folder / "release.json").read_text())
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.suffix != ".pyc"}
    kept = {name: p.read_bytes() for name, p in files.items() if p.is_file() and name not in NAMES_THE_RELEASE}
    return {**kept, "release.json": json.dumps(sorted(record)).encode()}


def _purpose_of(process: psutil.Process) -> str:
    try:
        return str(process.environ().get("THUMBWHEEL_LEASE", "")).rpartition("|")[2]
    except (psutil.Error, OSError):
        return SERVICE


def _is_keeper(process: psutil.Process) -> bool:
    try:
        return "serving.keeper" in process.cmdline()
    except psutil.Error:
        return False
