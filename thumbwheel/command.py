"""Run a `main()` as a command: one clear line and exit 2 for what a user can mend, a traceback for our own faults."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable

from thumbwheel.errors import ThumbwheelError

USER_ERROR = 2


def run(main: Callable[[], None]) -> None:
    """Call `main` and leave; a `ThumbwheelError` becomes one line on standard error and exit status 2."""
    configure_logging()
    try:
        main()
    except ThumbwheelError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(130)
    leave()


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
