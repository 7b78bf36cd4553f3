"""The inside of the sandbox: a process that walls itself in, runs one program, and dies with all that the program left.

`eval.sandbox` starts it with a bare interpreter, so it imports the standard library alone. The order counts:
namespaces, an empty root, no capabilities, limits, a filter of system calls, and only then the program. A step that the
kernel refuses is reported and nothing is run. The first process of a PID namespace takes all others with it when it
ends (pid_namespaces(7)), so nothing that the program does can outlive it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import stat
import struct
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

NOBODY = 65534
PROGRAM, WORK = "/program.py", "/work"
NAMESPACES = 0x7E020000
"""User, PID, network, mount, IPC, UTS and cgroup (sched.h), as flags of unshare(2)."""
MS_REC_PRIVATE, MS_BIND_REC, MNT_DETACH = 0x44000, 0x5000, 2
MS_NOSUID_NODEV_NOEXEC = 0xE
ATTR_READ_ONLY, ATTR_NOSUID_NODEV = 0x1, 0x6
AT_RECURSIVE = 0x8000
PR_DEATH_SIGNAL, PR_DUMPABLE, PR_SECCOMP, PR_DROP_BOUND, PR_NO_NEW_PRIVILEGES = 1, 4, 22, 24, 38
CAPABILITY_VERSION = 0x20080522
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
MOUNT_SETATTR, CLONE3 = 442, 435
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
X32 = 0x40000000
DENIED = {
    # socket, ptrace, process_vm_*, unshare, setns, mount, umount2, pivot_root, keys, bpf, perf_event_open, userfaultfd,
    # memfd_create, shmget, msgget, semget, mq_open, open_by_handle_at, fanotify_init
    "x86_64": (
        *(41, 101, 310, 311, 272, 308, 165, 166, 155, 248, 249, 250, 321, 298, 323),
        *(319, 29, 68, 64, 240, 304, 300),
    ),
    "aarch64": (
        *(198, 117, 270, 271, 97, 268, 40, 39, 41, 217, 218, 219, 280, 241, 282),
        *(279, 194, 186, 190, 180, 265, 262),
    ),
}
DENIED_EVERYWHERE = (*range(425, 434), MOUNT_SETATTR, 447)
"""io_uring, the new calls that mount, memfd_secret: the same numbers on all machines."""
LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    config, report = json.loads(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(report, False)
    text = sys.stdin.buffer.read()
    try:
        enter_namespaces()
        sources = [(os.open(source, os.O_PATH), source, target) for source, target in config["visible"]]
        become(NOBODY)
        die_with_parent()
        first = os.fork()
        if first == 0:
            keep_house(config, sources, text, report)
    except OSError as error:
        refuse(report, error)
    os.close(report)
    os.waitpid(first, 0)


def refuse(report: int, error: OSError) -> NoReturn:
    """Say what could not be had, and end."""
    step = f"{error.filename}: " if error.filename else ""
    os.write(report, json.dumps({"refused": f"{step}{error.strerror}"}).encode())
    os._exit(1)


def checked(name: str, result: int) -> None:
    """Raise OSError, naming the call, where one failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def enter_namespaces() -> None:
    """Enter new namespaces as user `NOBODY`, which outside is our own user, or nobody where we are root.

    The maps are written by a child that stays outside: only there root may map another user than itself.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        checked("setgroups", LIBC.setgroups(0, None))
        uid = gid = NOBODY
    started, go = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(go)
        os.read(started, 1)
        os._exit(write_maps(os.getppid(), uid, gid))
    checked("unshare", LIBC.unshare(NAMESPACES))
    os.close(go)
    os.close(started)
    if status := os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]):
        raise OSError(status, os.strerror(status), "uid_map")


def write_maps(pid: int, uid: int, gid: int) -> int:
    """Map `NOBODY` inside to a user and group outside, for a process; return an errno, 0 for none."""
    place = Path("/proc") / str(pid)
    try:
        (place / "setgroups").write_text("deny")
        (place / "uid_map").write_text(f"{NOBODY} {uid} 1")
        (place / "gid_map").write_text(f"{NOBODY} {gid} 1")
    except OSError as error:
        return error.errno or 1
    return 0


def become(user: int) -> None:
    """Take on a user that the namespace knows, and offer ourselves first where memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def die_with_parent() -> None:
    """Be killed when the parent is; the parent may be gone already."""
    parent = os.getppid()
    checked("prctl", LIBC.prctl(PR_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def keep_house(config: dict[str, Any], sources: list[tuple[int, str, str]], text: bytes, report: int) -> NoReturn:
    """Be the first process: build the root, run the program, reap what it leaves, and say how it ended."""
    try:
        die_with_parent()
        checked("prctl", LIBC.prctl(PR_DUMPABLE, 0, 0, 0, 0))
        build_root(config, sources, text)
        drop_capabilities()
        program = os.fork()
        if program == 0:
            run_program(config, report)
    except OSError as error:
        refuse(report, error)
    until = time.monotonic() + config["wall_seconds"]
    while (ended := reaped(program)) is None:
        if time.monotonic() > until:
            break
        time.sleep(0.002)
    os.write(report, json.dumps({"ended": ended}).encode())
    os._exit(0)


def reaped(program: int) -> int | None:
    """Return the program's exit status once it has ended (negative: a signal); orphans are reaped beside it."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == program:
            return os.waitstatus_to_exitcode(status)
        if pid == 0:
            return None


def build_root(config: dict[str, Any], sources: list[tuple[int, str, str]], text: bytes) -> None:
    """Make a root that holds the program, what the interpreter needs, read-only, and a small folder to write to."""
    checked("mount private", LIBC.mount(None, b"/", None, MS_REC_PRIVATE, None))
    mount_memory("/tmp", f"size={len(text) + 65536},mode=755")
    os.chdir("/tmp")
    for handle, source, target in sources:
        place = Path(target.lstrip("/"))
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        bound = f"/proc/self/fd/{handle}".encode()
        checked(f"mount {source}", LIBC.mount(bound, str(place).encode(), None, MS_BIND_REC, None))
        set_read_only(str(place), AT_RECURSIVE)
    for covered in config["covered"]:
        mount_memory(covered.lstrip("/"), "size=4096,nr_inodes=1,mode=555")
    Path(PROGRAM.lstrip("/")).write_bytes(text)
    work = Path(WORK.lstrip("/"))
    work.mkdir()
    mount_memory(str(work), f"size={config['disk_bytes']},nr_inodes={config['files']},mode=700")
    checked("pivot_root", LIBC.syscall(PIVOT_ROOT[platform.machine()], b".", b"."))
    checked("umount", LIBC.umount2(b".", MNT_DETACH))
    set_read_only("/", 0)
    os.chdir(WORK)


def mount_memory(place: str, options: str) -> None:
    """Mount an empty file system in memory."""
    found = LIBC.mount(b"tmpfs", place.encode(), b"tmpfs", MS_NOSUID_NODEV_NOEXEC, options.encode())
    checked(f"mount {place}", found)


def set_read_only(place: str, recursive: int) -> None:
    """Let nothing below a mount be written, nor anything there give privileges."""
    wanted = struct.pack("QQQQ", ATTR_READ_ONLY | ATTR_NOSUID_NODEV, 0, 0, 0)
    arguments = (ctypes.c_int(-100), place.encode(), ctypes.c_uint(recursive), wanted, ctypes.c_size_t(len(wanted)))
    checked(f"mount_setattr {place}", LIBC.syscall(MOUNT_SETATTR, *arguments))


def drop_capabilities() -> None:
    """Give up every capability for good; no program that is started can bring one back."""
    capability = 0
    while LIBC.prctl(PR_DROP_BOUND, capability, 0, 0, 0) == 0:
        capability += 1
    checked("capset", LIBC.capset(struct.pack("II", CAPABILITY_VERSION, 0), bytes(24)))
    checked("prctl", LIBC.prctl(PR_NO_NEW_PRIVILEGES, 1, 0, 0, 0))


def run_program(config: dict[str, Any], report: int) -> NoReturn:
    """Become the program, under its limits, with no environment but what the interpreter needs."""
    try:
        os.setsid()
        for name, limit in config["limits"].items():
            resource.setrlimit(getattr(resource, name), (limit, limit))
        filter_calls(platform.machine())
        python = config["python"]
        os.execve(python, [python, "-P", "-s", "-S", "-B", PROGRAM], config["environment"])
    except OSError as error:
        refuse(report, error)


def filter_calls(machine: str) -> None:
    """Deny the system calls that a program that computes has no use for (seccomp(2)).

    Sockets of some families, such as those to a virtual machine's host, know no namespaces; memory that is shared by
    handles would count to nobody's limit.
    """
    deny, allow, kill = (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x80000000)
    absent = (0x06, 0, 0, 0x00050026)
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, AUDIT_ARCH[machine]), kill, (0x20, 0, 0, 0)]
    if machine == "x86_64":
        code += [(0x35, 0, 1, X32), deny]
    code += [(0x15, 0, 1, CLONE3), absent]  # its flags cannot be looked at; who gets "no such call" takes clone
    for number in (*DENIED[machine], *DENIED_EVERYWHERE):
        code += [(0x15, 0, 1, number), deny]
    code += [(0x15, 0, 3, CLONE[machine]), (0x20, 0, 0, 16), (0x45, 0, 1, NAMESPACES), deny, allow]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    filtering = struct.pack("HxxxxxxP", len(code), ctypes.addressof(packed))
    checked("seccomp", LIBC.prctl(PR_SECCOMP, 2, filtering, 0, 0))


if __name__ == "__main__":
    main()
