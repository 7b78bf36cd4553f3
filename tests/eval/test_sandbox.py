"""The sandbox holds whatever a program tries: each ends in bounded time, and nothing of it is left or seen outside."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pydantic
import pytest

from eval.sandbox import Limits, run_program
from tests.waiting import eventually
from thumbwheel.errors import SandboxError

ROOT = Path(__file__).resolve().parent.parent.parent
LIMITS = Limits(cpu_seconds=1, wall_seconds=60, memory_mib=128, processes=6, files=24, output_kib=64)
RUN = "from eval.sandbox import Limits, run_program; print(run_program({!r}, Limits(**{!r})))"
BRIEF = LIMITS.model_copy(update={"wall_seconds": 1.0})
NAMED = "import ctypes; ctypes.CDLL(None).prctl(15, b'{}')\n"
"""Gives a program, and all that it starts, a name to be found by."""


@pytest.fixture(autouse=True, scope="module")
def _walls() -> None:
    try:
        run_program("", LIMITS)
    except SandboxError as error:
        pytest.skip(str(error))


def alive(name: str) -> list[int]:
    """Return the processes of a name on this machine."""
    found = []
    for place in Path("/proc").glob("[0-9]*/comm"):
        try:
            found += [int(place.parent.name)] if place.read_text().strip() == name else []
        except OSError:
            continue
    return found


@pytest.fixture
def name() -> Iterator[str]:
    """A name for the processes of one program, none of which may be left."""
    told = f"sb{secrets.token_hex(5)}"
    yield told
    assert alive(told) == []


def test_a_program_prints_and_ends_as_it_wants() -> None:
    ended = run_program("import sys, math; print(math.pi); print('no', file=sys.stderr); sys.exit(3)", LIMITS)
    assert ended.status == 3
    assert sorted(ended.output.split()) == ["3.141592653589793", "no"]


def test_a_program_does_the_same_in_every_run() -> None:
    once, again = (run_program("print({'a', 'b', 'c', 'd', 'e'})", LIMITS) for _ in range(2))
    assert once == again


def test_a_program_sees_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBWHEEL_PLANTED", "secret")
    places = ["/root", "/home", "/proc", "/sys", "/dev", "/run", "/var", "/tmp", "/etc/passwd", str(ROOT), sys.prefix]
    code = f"""
import json, os
print(json.dumps({{
    "places": [place for place in {places!r} if os.path.exists(place)],
    "variables": sorted(set(os.environ) - {{"LD_LIBRARY_PATH", "LC_CTYPE", "PYTHONHASHSEED"}}),
    "root": sorted(os.listdir("/")), "etc": os.listdir("/etc"), "work": os.listdir("."),
    "packages": os.listdir(os.path.dirname(os.__file__) + "/site-packages"),
    "handles": [handle for handle in range(3, 24) if os.path.exists(handle)],
    "root user": os.getuid() == 0, "input": os.read(0, 9).decode(),
}}))
"""
    seen = json.loads(run_program(code, LIMITS).output)
    assert set(seen.pop("root")) <= {"etc", "lib", "lib64", "program.py", "python", "usr", "work"}
    assert set(seen.pop("etc")) <= {"ld.so.cache"}
    assert not any(seen.values()), seen


ESCAPES = (
    "socket.create_connection(('127.0.0.1', PORT), 1)",
    "socket.create_connection(('192.0.2.1', 80), 1)",
    "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "socket.socket(socket.AF_UNIX)",
    "socket.getaddrinfo('example.com', 80)",
    "called(libc.unshare(0x10000000))",
    "called(libc.ptrace(16, 1, 0, 0))",
    "called(libc.mount(b'x', b'/work', b'tmpfs', 0, None))",
    "called(libc.syscall(425, 8, 0))",
    "os.memfd_create('x')",
    "os.setuid(0)",
    "os.chroot('/work')",
    "open('/escaped', 'w')",
    "open('/program.py', 'w')",
    "open('/python/escaped', 'w')",
    "open('/usr/lib/escaped', 'w')",
    "os.chmod('/usr/lib', 0o777)",
    "os.mkdir('/escaped')",
    "os.mknod('/work/disk', 0o600 | stat.S_IFBLK, os.makedev(8, 0))",
    "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
)


def test_no_way_out_is_open() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        tried = [one.replace("PORT", str(server.getsockname()[1])) for one in ESCAPES]
        code = f"""
import ctypes, os, resource, socket, stat
libc = ctypes.CDLL(None, use_errno=True)
def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
for one in {tried!r}:
    try:
        exec(one)
        print("got out by", one)
    except (OSError, ValueError):
        print("refused")
"""
        ended = run_program(code, LIMITS)
    assert ended.output.split("\n") == ["refused"] * len(ESCAPES) + [""]


def test_the_program_cannot_touch_who_watches_it() -> None:
    code = (
        "import os\nos.kill(1, 9)\ntry:\n  os.kill(os.getppid(), 19)\nexcept OSError: pass\nprint('on', os.getppid())"
    )
    assert run_program(code, LIMITS).output == "on 1\n"


def test_one_that_never_ends_is_ended(name: str) -> None:
    asleep = run_program(NAMED.format(name) + "import time; time.sleep(10**6)", BRIEF)
    assert asleep.status is None


def test_one_that_uses_too_much_time_is_killed(name: str) -> None:
    patient = LIMITS.model_copy(update={"wall_seconds": 30.0})
    assert run_program(NAMED.format(name) + "while True: pass", patient).status == -signal.SIGKILL


def test_a_fork_bomb_ends_with_all_its_processes(name: str) -> None:
    bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    ended = run_program(NAMED.format(name) + bomb, BRIEF)
    assert ended.status in (None, -signal.SIGKILL)


def test_only_so_many_processes_and_threads_are_had(name: str) -> None:
    code = """
import os, threading, time
children = 0
try:
    while children < 50:
        if os.fork() == 0:
            time.sleep(50)
        children += 1
except OSError:
    print(children)
try:
    threading.Thread(target=time.sleep, args=(50,)).start()
except RuntimeError:
    print("no thread", flush=True)
"""
    assert run_program(NAMED.format(name) + code, LIMITS).output == f"{LIMITS.processes - 1}\nno thread\n"


def test_children_that_outlive_the_program_and_zombies_are_gone_with_it(name: str) -> None:
    code = """
import os, time
for child in range(4):
    if os.fork() == 0:
        os.setsid()
        time.sleep(50 * (child % 2))
        os._exit(0)
"""
    assert run_program(NAMED.format(name) + code, LIMITS).status == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = bytearray(400 << 20)", "MemoryError"),
        ("import mmap; mmap.mmap(-1, 400 << 20)", "Cannot allocate memory"),
        ("while True: print('x' * 1000)", ""),
        ("open('big', 'w').write('x' * 10**6)", "File too large"),
        ("for i in range(9): open(f'{i}', 'wb').write(b'x' * 60000)", "No space left"),
        ("for i in range(99): open(f'{i}', 'w').close()", "No space left"),
        ("kept = [open('/program.py') for _ in range(99)]", "Too many open files"),
    ],
)
def test_what_is_more_than_its_share_fails(code: str, said: str) -> None:
    ended = run_program(code, LIMITS)
    assert ended.status not in (0, None)
    assert said in ended.output
    assert len(ended.output) <= LIMITS.output_kib * 1024


def test_nothing_is_left_when_who_started_it_is_killed(name: str) -> None:
    patient = LIMITS.model_copy(update={"wall_seconds": 600.0})
    code = RUN.format(NAMED.format(name) + "import time; time.sleep(500)", patient.model_dump())
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        assert eventually(lambda: alive(name))
    finally:
        starter.kill()
        starter.wait()
    assert eventually(lambda: not alive(name))


def test_where_no_namespace_can_be_had_nothing_is_run() -> None:
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    code = RUN.format("raise SystemExit", LIMITS.model_dump())
    command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "sh", "-c", forbid, "sh"]
    refused = subprocess.run([*command, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "SandboxError: no sandbox here (unshare: No space left on device). Generated programs" in refused.stderr


def test_no_root_is_needed() -> None:
    python, nobody = Path("/usr/bin/python3.11"), 65533
    if os.geteuid() != 0 or not python.exists():
        pytest.skip("needs root, so as to give it up, and an interpreter that everybody may run")
    code, packages = RUN.format("import os; print(os.getuid())", LIMITS.model_dump()), pydantic.__path__[0] + "/.."
    done = subprocess.run(
        [python, "-B", "-c", code], env={"PYTHONPATH": f"{ROOT}:{packages}"}, cwd="/", user=nobody, group=nobody,
        extra_groups=[], capture_output=True, text=True,
    )  # fmt: skip
    if "ModuleNotFoundError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("this tree is not for everybody to read")
    assert done.stdout == "Ending(status=0, output='65534\\n')\n", done.stderr
