"""Run a generated Python program where it can do no harm: no network, no files or secrets of ours, a while only.

The walls are Linux namespaces, resource limits and a filter of system calls (`eval/sandbox_cell.py`); no root is
needed, and root runs programs as nobody. Where a wall cannot be had, nothing is run.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from pydantic import Field

from eval.sandbox_cell import AUDIT_ARCH
from thumbwheel.errors import SandboxError
from thumbwheel.params import Params

CELL = Path(__file__).with_name("sandbox_cell.py")
HOME = "/python"
"""Where the interpreter lies inside."""
GRACE_SECONDS = 10.0
"""How long after a program's time all of it may take to be gone."""
MEND = (
    "Generated programs are only run inside Linux user namespaces (kernel 5.12 or newer). Allow them (sysctls "
    "user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; in a "
    "container its seccomp profile), or take suites that run programs out of the params."
)


class Limits(Params):
    """What a program may use. All its processes together use at most `processes` times `memory_mib`.

    `processes` counts threads too. `files` may be open at once in a process, and lie in the folder that it may write
    to; what it prints, any one file, and that folder hold at most `output_kib`.
    """

    cpu_seconds: int = Field(ge=1)
    """Of one process; the program, all in all, has `wall_seconds`."""
    wall_seconds: float = Field(gt=0)
    memory_mib: int = Field(ge=64)
    processes: int = Field(ge=1)
    files: int = Field(ge=16)
    output_kib: int = Field(ge=4)


@dataclass(frozen=True)
class Ending:
    """How a program ended: its exit status, negative for a signal, None where its time was up; and what it printed."""

    status: int | None
    output: str


def run_program(text: str, limits: Limits) -> Ending:
    """Run a Python program in the sandbox; when this returns, no process of it is left.

    It sees the standard library, `/work`, an empty folder, and nothing else; no input, and no variable of ours.

    Raises:
        SandboxError: a wall cannot be had on this machine; the program was not run.
    """
    if sys.platform != "linux" or platform.machine() not in AUDIT_ARCH:
        raise SandboxError(f"no sandbox on {sys.platform} {platform.machine()}. {MEND}")
    with tempfile.TemporaryFile() as output:
        report = told_by_cell(text.encode(errors="surrogatepass"), limits, output)
        output.seek(0)
        printed = output.read(limits.output_kib * 1024).decode(errors="replace")
    if "ended" not in report:
        raise SandboxError(f"no sandbox here ({report.get('refused', 'it ended too early')}). {MEND}")
    return Ending(report["ended"], printed)


def told_by_cell(text: bytes, limits: Limits, output: IO[bytes]) -> dict[str, Any]:
    """Return what the walled-in process reports; whatever happens, it is gone when this returns."""
    reading, writing = os.pipe()
    command = [str(interpreter()), "-I", "-S", "-B", str(CELL), json.dumps(cell_config(limits)), str(writing)]
    with open(reading, "rb") as reports:
        try:
            cell = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={},
                pass_fds=[writing],
                process_group=0,
            )
        finally:
            os.close(writing)
        try:
            cell.communicate(text, timeout=limits.wall_seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # it did not even report that the time is up: whatever it reported before does not count
        finally:
            if cell.poll() is None:
                os.killpg(cell.pid, signal.SIGKILL)
                cell.wait()
        return dict(json.loads(reports.read() or b"{}"))


def cell_config(limits: Limits) -> dict[str, Any]:
    """Return what the cell is told: what is to be seen, and what may be used."""
    visible, covered = seen_inside()
    size = limits.output_kib * 1024
    return {
        "python": f"{HOME}/bin/python3",
        "environment": {"LD_LIBRARY_PATH": f"{HOME}/lib", "PYTHONHASHSEED": "0"},  # sets have one order in every run
        "visible": visible,
        "covered": covered,
        "wall_seconds": limits.wall_seconds,
        "disk_bytes": size,
        "files": limits.files,
        "limits": {
            "RLIMIT_CPU": limits.cpu_seconds,
            "RLIMIT_AS": limits.memory_mib * 1024 * 1024,
            "RLIMIT_NPROC": limits.processes + 2,  # the two processes of the cell are of the same user
            "RLIMIT_NOFILE": limits.files,
            "RLIMIT_FSIZE": size,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
        },
    }


@cache
def seen_inside() -> tuple[list[tuple[str, str]], list[str]]:
    """Return the files and folders to be seen inside, each with its place there, and folders to be covered there.

    A bare interpreter, its standard library without installed packages, and the system's libraries: nothing of a user.
    """
    standard, version = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix})), f"python{sys.version[:4]}"
    home = f"{HOME}/{sys.platlibdir}/{version}"
    shared = Path(sysconfig.get_config_var("LIBDIR") or "") / str(sysconfig.get_config_var("INSTSONAME") or "")
    wanted = [(interpreter(), f"{HOME}/bin/python3"), (standard, home)]
    wanted += [(shared, f"{HOME}/lib/{shared.name}")] if shared.suffix != ".a" and shared.is_file() else []
    system = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
    wanted += [(Path(place), place) for place in system if Path(place).exists()]
    packages = [name for name in ("site-packages", "dist-packages") if (standard / name).is_dir()]
    return [(str(source), target) for source, target in wanted], [f"{home}/{name}" for name in packages]


@cache
def interpreter() -> Path:
    """Return the interpreter itself, behind all virtual environments and links."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()
