"""Run a `main()` as a command: one clear line and exit 2 for what a user can mend, a traceback for our own faults."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import sys
import threading
from collections.abc import Callable

from thumbwheel.errors import ThumbwheelError

USER_ERROR = 2
FULL = (os.strerror(errno.ENOSPC), "database or disk is full")
MAKE_ROOM = "Free some space and run again; what was whole before is whole still."


def run(main: Callable[[], None]) -> None:
    """Call `main` and leave; a `ThumbwheelError` or a full disk becomes a line on standard error and exit status 2."""
    configure_logging()
    try:
        main()
    except ThumbwheelError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not is_full(error):
            raise
        print(f"error: the disk is full ({str(error).strip().splitlines()[0]}). {MAKE_ROOM}", file=sys.stderr)
        sys.exit(USER_ERROR)
    leave()


def is_full(error: Exception) -> bool:
    """Tell whether an error says that a disk is full: libraries that write have classes of their own for it."""
    said = str(error)
    return getattr(error, "errno", None) == errno.ENOSPC or any(words in said for words in FULL)


def leave() -> None:
    """End the process with status 0, without the teardown of native libraries.

    On a busy machine a thread pool of one of them now and then aborts the process there (status 134, "terminate called
    without an active exception"), and a stage whose work was done would count as failed.
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def configure_logging() -> None:
    """Log to standard error, one line a message; third parties only from warnings up."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )
    level = os.environ.get("THUMBWHEEL_LOG", "INFO").upper()
    for package in ("thumbwheel", "stages", "eval", "serving", "__main__"):
        logging.getLogger(package).setLevel(level)
