"""Processes that belong to this root: marked by an environment variable, so that none is lost and none is left."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from thumbwheel.errors import TurnError
from thumbwheel.settings import settings

MARK = "THUMBWHEEL_LEASE"
"""Environment variable that every process of a turn or of the stack inherits: the root and what it runs for."""
SAMPLE_SECONDS = 2.0


def lease(purpose: str) -> dict[str, str]:
    """Return the variable that marks a process, and all its children, as running for `purpose` in this root."""
    return {MARK: f"{settings().root}|{purpose}"}


def leased(purpose: str) -> list[psutil.Process]:
    """Return the living processes of this root that run for `purpose`, or for a part of it, such as `purpose/part`."""
    mark = lease(purpose)[MARK]
    return [process for process in psutil.process_iter() if f"{_mark_of(process)}/".startswith(f"{mark}/")]


def stop(processes: Iterable[psutil.Process], patience: float = 10.0) -> int:
    """Stop processes by TERM, then KILL; return how many there were."""
    alive = list(processes)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(alive, timeout=patience)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=patience)
    return len(alive)


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its living descendants."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def only_one(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for the length of a `with` block; the kernel frees it whatever way the process ends.

    Raises:
        TurnError: another process holds it; the message names its process id.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise TurnError(f"{what} is already running (process {file.read().strip() or 'unknown'}); wait.") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def clear_dvc_locks(root: Path) -> None:
    """Remove DVC's read-write lock where a killed process left it torn, or held for processes that are gone."""
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        holders = json.loads(path.read_text() or "{}")
        pids = {row["pid"] for row in _rows(holders)}
    except FileNotFoundError:
        return
    except (json.JSONDecodeError, TypeError, KeyError):
        pids = set()
    if not any(_is_dvc(pid) for pid in pids):
        path.unlink(missing_ok=True)


def extensions_dir() -> Path:
    """Return where DeepSpeed's extensions are compiled: a place of ours, so that a killed build can be cleared away."""
    return settings().state_dir / "torch_extensions"


def clear_build_locks() -> None:
    """Remove the locks of builds that were killed; PyTorch would wait for them for ever."""
    for lock in extensions_dir().rglob("lock"):
        lock.unlink(missing_ok=True)


class PeakMemory:
    """Samples the memory of processes (proportional set size, so that shared pages count once) in a thread.

    `find` is asked anew for each sample: which processes count may change while we look.
    """

    def __init__(self, find: Callable[[], Iterable[psutil.Process]]) -> None:
        self.find = find
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, sum(map(_memory, {p.pid: p for p in self.find()}.values())))
            if self._done.wait(SAMPLE_SECONDS):
                return


def _memory(process: psutil.Process) -> int:
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return str(process.environ().get(MARK))
    except (psutil.Error, OSError):
        return None


def _rows(holders: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for paths in holders.values():
        for held in paths.values():
            yield from held if isinstance(held, list) else [held] if held else []


def _is_dvc(pid: int) -> bool:
    try:
        return any("dvc" in part for part in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
