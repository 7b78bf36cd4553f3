"""Keep a server running: start it again when it dies, and let nothing of it outlive us.

python -m serving.keeper COMMAND…

BentoML starts a service's command once and proxies to it for ever; this stands between the two.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from types import FrameType

logger = logging.getLogger(__name__)

SETTLED_SECONDS = 60
"""A server that lived this long is started again without limit."""
QUICK_DEATHS = 3
STOP_SECONDS = 20
PR_SET_PDEATHSIG = 1


def keep(command: list[str]) -> int:
    """Run `command` until we are told to stop (0), or until it dies quickly `QUICK_DEATHS` times (its status)."""
    quick = 0
    while True:
        started = time.monotonic()
        child = subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent)
        try:
            status = child.wait()
        except SystemExit:
            _stop(child)
            return 0
        _stop(child)
        quick = 1 if time.monotonic() - started > SETTLED_SECONDS else quick + 1
        if quick >= QUICK_DEATHS:
            return status or 1
        logger.warning("%s ended with status %d; starting it again", command[:3], status)


def die_with_parent() -> None:
    """Ask Linux to send us TERM when our parent dies; elsewhere this does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    die_with_parent()
    sys.exit(keep(sys.argv[1:]))


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Stop what is left of the child's group: TERM, then KILL."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sign)
            child.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    main()
