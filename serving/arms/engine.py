"""The engine of an arm beside the service: vLLM's server over the bundle of the Bento that these sources are of.

python -m serving.arms.engine PORT      # started by stages.canary, in the Bento's sources
"""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType

from serving.engine import server_command
from serving.keeper import keep


def main() -> None:
    """Serve until we are told to stop; unlike the service's own engine, this one outlives whoever started it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    command = server_command(int(sys.argv[1]))
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    sys.exit(keep(command))


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
