"""Switch the chat service to the released Bento, or back where the new one does not come up.

python -m stages.deploy             # serve what state/release.json names; nothing to do when it is served already
python -m stages.deploy --stop      # stop the service and everything that it started
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from stages.arms import engines
from stages.arms.service import ask, base_url, drain, is_ready, log_path, wait_followed
from thumbwheel.arms import Routing, routing_path
from thumbwheel.bundle import refuse_other
from thumbwheel.command import run
from thumbwheel.engine import require_free
from thumbwheel.errors import ReleaseError, ThumbwheelError
from thumbwheel.lake import write_json
from thumbwheel.processes import leased, stop
from thumbwheel.release import Released, read_release
from thumbwheel.settings import settings

logger = logging.getLogger(__name__)

PURPOSE = engines.SERVICE
POLL_SECONDS = 0.5


def main() -> None:
    """Deploy, or stop, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m stages.deploy", description="Serve the released Bento.")
    parser.add_argument("--stop", action="store_true", help="stop the service and leave no process behind")
    options = parser.parse_args()
    with _alone():
        if options.stop:
            logger.info("stopped %d processes of the chat service", stop_service())
        else:
            deploy()


def deploy() -> None:
    """Serve the release.

    Raises:
        ReleaseError: nothing is released, its bundle is another, or it does not come up; then what was served before
            is served again.
        PortInUseError: a stranger listens on a port of the service.
    """
    release = read_release()
    if release is None:
        raise ReleaseError("nothing is released yet; turn the wheel first: make run.")
    wanted = release.champion()
    earlier = served()
    if earlier == wanted and is_ready(wanted):
        logger.info("version %d is served already at %s", wanted.version, base_url())
        return
    refuse_other(wanted.folder(), wanted.bundle)
    if earlier and switch(wanted):
        logger.info("version %d is served at %s, by an engine that was warm", wanted.version, base_url())
        return
    stop_service()
    try:
        _bring_up(wanted)
    except ThumbwheelError as error:
        stop_service()
        raise type(error)(f"{error} {_serve_again(earlier, wanted)}") from None
    logger.info("version %d is served at %s", wanted.version, base_url())


def switch(wanted: Released) -> bool:
    """Let the running service answer by an engine that it has already, and tell whether it could; nobody notices.

    It cannot where no such engine is ready, or where the release comes with other code than runs.
    """
    base = running_code()
    with engines.changing_routing() as before:
        after = engines.put_first(before, wanted.bento) if before else None
        if before is None or after is None or base is None or not engines.same_code(base, wanted):
            return False
        if not engines.is_ready(after.champion):
            return False
        after = after if settings().keep_warm else Routing(champion=after.champion)
        engines.write_routing(after)
        try:
            wait_followed(wanted)
            ask(wanted)
        except ReleaseError as error:
            logger.warning("version %d could not be switched to: %s", wanted.version, error)
            engines.write_routing(before)
            return False
    _record(wanted, base, json.loads(record_path().read_text()).get("pid", 0))
    engines.retire(before, after)
    return True


def running_code() -> Released | None:
    """Return the release whose Bento's code runs the service; it may answer with engines of others."""
    try:
        found = json.loads(record_path().read_text())
        return Released.model_validate(found.get("code") or found["release"])
    except (OSError, ValueError, KeyError):
        return None


def served() -> Released | None:
    """Return what the running service serves, or was starting to serve; None where it does not run."""
    if not leased(PURPOSE):
        return None
    try:
        return Released.model_validate(json.loads(record_path().read_text())["release"])
    except (OSError, ValueError, KeyError):
        return None


def stop_service() -> int:
    """Stop every process of the service, the engine's included, and return how many there were.

    Answers under way are ended first, within admission.answer_seconds of serving.yaml, and new requests refused.
    """
    if leased(PURPOSE):
        drain()
    count = 0
    while processes := leased(PURPOSE):
        count += len(processes)
        known = {process.pid for process in processes}
        roots = [process for process in processes if _parent(process) not in known]
        stop(roots, engines.STOP_SECONDS)
    record_path().unlink(missing_ok=True)
    routing_path().unlink(missing_ok=True)
    return count


def record_path() -> Path:
    """Return the file that says what is being served, by which process."""
    return settings().state_dir / "service.json"


def _bring_up(release: Released) -> None:
    require_free(settings().chat_port, settings().host)
    require_free(settings().engine_port)
    logger.info("starting version %d (%s); its log is %s", release.version, release.bento, log_path())
    process = _start(release)
    _wait_ready(process, release)
    ask(release)


def _start(release: Released) -> subprocess.Popen[bytes]:
    """Start the Bento in a session of its own; it outlives us, and carries the mark by which it is found again."""
    settings_ = settings()
    log_path().parent.mkdir(parents=True, exist_ok=True)
    _record(release, release, 0)
    engines.write_routing(Routing(champion=engines.arm_of(release)))
    command = [sys.executable, "-m", "bentoml", "serve", release.bento]
    command += ["--host", settings_.host, "--port", str(settings_.chat_port), "--timeout-graceful-shutdown", "10"]
    with log_path().open("ab") as sink:
        process = subprocess.Popen(
            command,
            cwd=engines.bento_sources(release),
            env=engines.service_environment(release, PURPOSE),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    _record(release, release, process.pid)
    return process


def _record(release: Released, code: Released, pid: int) -> None:
    what = {"release": release.model_dump(), "code": code.model_dump(), "pid": pid, "url": base_url()}
    write_json(record_path(), what)


def _wait_ready(process: subprocess.Popen[bytes], release: Released) -> None:
    limit = settings().engine_start_seconds
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ReleaseError(f"the service ended with status {process.returncode}: {engines.tail(log_path())}")
        if is_ready(release):
            return
        time.sleep(POLL_SECONDS)
    raise ReleaseError(f"the service was not ready in {limit} s (THUMBWHEEL_ENGINE_START_SECONDS); see {log_path()}.")


def _serve_again(earlier: Released | None, wanted: Released) -> str:
    if earlier is None or earlier == wanted:
        return "Nothing is served now."
    try:
        _bring_up(earlier)
    except ThumbwheelError as error:
        stop_service()
        return f"Version {earlier.version} did not come up again either ({error}); nothing is served now."
    return f"Version {earlier.version} is served again."


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


@contextmanager
def _alone() -> Iterator[None]:
    """Let one deployment at a time pass; the kernel frees the lock whatever way we end."""
    settings().state_dir.mkdir(parents=True, exist_ok=True)
    with (settings().state_dir / "deploy.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    run(main)
