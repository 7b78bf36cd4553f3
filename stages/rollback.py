"""Put the previous champion back, in the registry, in the release and in the running service.

    python -m stages.rollback      # or make rollback

Where the engine of the one before is warm, users are sent to it at once and nothing is started. While a canary answers,
it is the canary that is taken back: its users go to the champion.
"""

from __future__ import annotations

import logging
import subprocess
import sys

from stages.arms.watch import ongoing
from stages.canary import take_back
from stages.promote import set_aliases
from thumbwheel.bundle import refuse_other
from thumbwheel.command import run
from thumbwheel.errors import ReleaseError
from thumbwheel.release import Release, read_release, write_release
from thumbwheel.settings import settings

log = logging.getLogger(__name__)


def swap(release: Release | None) -> Release:
    """Return the release with champion and previous changed over; the bundle taken back is remembered.

    Raises:
        ReleaseError: there is nothing to go back to.
    """
    if release is None:
        raise ReleaseError("nothing was released yet, so there is nothing to roll back; turn the wheel with: make run.")
    if release.previous is None:
        raise ReleaseError(f"version {release.version} is the first champion; there is nothing to roll back to.")
    taken_back = tuple(bundle for bundle in release.rolled_back if bundle != release.previous.bundle)
    return Release(
        **release.previous.model_dump(), previous=release.champion(), rolled_back=(*taken_back, release.bundle)
    )


def main() -> None:
    """End the canary where one answers; else check that the previous bundle is whole, change over, and switch."""
    if (state := ongoing()) is not None:
        take_back(state.version, state.bundle, "by hand")
        log.info("version %d answers nobody any more; the champion stays", state.version)
        return
    after = swap(read_release())
    refuse_other(after.folder(), after.bundle)
    set_aliases(after)
    write_release(after)
    log.info("version %s is champion again", after.version)
    done = subprocess.run([sys.executable, "-m", "stages.deploy"], cwd=settings().root, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    run(main)
