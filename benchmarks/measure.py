"""Measure commands side by side: alternating runs, CPU-seconds of the whole process tree, peak memory.

A peer lives in an environment of its own, made once under `.thumbwheel/peers`. A measured script says in its last line
of output, as a JSON object, what it found and `work_cpu`, the CPU-seconds of the work without start-up.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.keeper import die_with_parent

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".thumbwheel" / "peers"


@dataclass(frozen=True)
class Cost:
    """Of one run, or the medians of several. `said` is the last run's JSON line; `peak` is of its largest process."""

    cpu_seconds: float
    """User and system time of the process and of all its children, start-up included."""
    work_cpu: float
    """The same without start-up, as the script measured it."""
    wall_seconds: float
    peak_bytes: int
    said: Mapping[str, Any]


def peer_python(name: str, requirements: Sequence[str]) -> str:
    """Return the interpreter of a peer's own environment, made on first use; the stamp is written last."""
    home = PEERS / name
    stamp = home / ".ready"
    wanted = "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(home / "bin" / "python")]
        links = ["--find-links", os.environ["PIP_FIND_LINKS"]] if os.environ.get("PIP_FIND_LINKS") else []
        subprocess.run([*install, *links, *requirements], check=True)
        stamp.write_text(wanted)
    return str(home / "bin" / "python")


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command once and return what it cost.

    Raises:
        subprocess.CalledProcessError: it failed; the message holds its last words.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        child = subprocess.Popen(
            list(command),
            stdout=said,
            stderr=complained,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            preexec_fn=die_with_parent,
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        said.seek(0)
        complained.seek(0)
        if child.returncode != 0:
            raise subprocess.CalledProcessError(child.returncode, list(command), stderr=complained.read()[-2000:])
        words = json.loads(said.read().decode().strip().splitlines()[-1])
    return Cost(usage.ru_utime + usage.ru_stime, float(words["work_cpu"]), wall, usage.ru_maxrss * 1024, words)


def alternate(commands: Mapping[str, Sequence[str]], runs: int = 3, **options: Any) -> dict[str, Cost]:
    """Run every command `runs` times, taking turns so that a busy machine is busy for all; return the medians."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            costs[name].append(measure(command, **options))
    return {name: _median(each) for name, each in costs.items()}


def machine() -> str:
    """Return the machine in words: processor, cores, memory."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {memory / 2**20:.0f} GiB"


def markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; columns after the first are set to the right."""
    lines = ["| " + " | ".join(heading) + " |", "|---|" + "---:|" * (len(heading) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(c.cpu_seconds for c in costs),
        statistics.median(c.work_cpu for c in costs),
        statistics.median(c.wall_seconds for c in costs),
        max(c.peak_bytes for c in costs),
        costs[-1].said,
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
