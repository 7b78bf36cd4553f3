"""The engine service: vLLM's OpenAI server over the released bundle, and over no other.

python -m serving.engine      # the server alone, as a pod of its own runs it
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import bentoml

from serving.models.arguments import engine_arguments, engine_variables
from serving.options import load_options
from serving.release import Release, load_release
from serving.trace import ENGINE_ENVIRONMENT, tracing_arguments
from thumbwheel.bundle import refuse_other
from thumbwheel.command import run
from thumbwheel.engine import engine_command, engine_environment, require_free
from thumbwheel.errors import PortInUseError
from thumbwheel.settings import settings

FOLDER = "bundle"
"""The bundle's folder inside the BentoML model, beside BentoML's own description of it."""
PORT_SECONDS = 30
"""How long an engine that was killed may take to let go of its port."""


@bentoml.service(
    name="Engine",
    workers=1,
    traffic={"timeout": 300},
    http={"proxy_port": settings().engine_port},
    endpoints={"livez": "/health", "readyz": "/health"},
)
class Engine:
    """An OpenAI-compatible server that BentoML starts, watches and proxies."""

    def __command__(self) -> list[str]:
        """Return the engine's command line.

        Raises:
            ReleaseError: the bundle in the store is not the one that was released.
            PortInUseError: something else listens on the engine's port.
        """
        return [sys.executable, "-m", "serving.keeper", *server_command(settings().engine_port)]


def main() -> None:
    """Become the engine, with no BentoML before it: what a pod of its own runs."""
    command = server_command(settings().engine_port)
    os.execv(command[0], command)


def server_command(port: int) -> list[str]:
    """Return the command line that serves the release beside us on `port`, and set its environment; raises as above."""
    release = load_release()
    bundle = bundle_folder(release)
    refuse_other(bundle, release.bundle)
    _wait_free(port)
    options = load_options().models.engine
    os.environ.update({**engine_environment(), **engine_variables(options), **ENGINE_ENVIRONMENT})
    more = [*engine_arguments(options), *tracing_arguments()]
    return engine_command(bundle, release.model, port, release.window, release.max_streams, more)


def bundle_folder(release: Release) -> Path:
    """Return where the release's bundle lies in the BentoML model store."""
    return Path(bentoml.models.get(release.bento_model).path) / FOLDER


def _wait_free(port: int) -> None:
    deadline = time.monotonic() + PORT_SECONDS
    while True:
        try:
            return require_free(port)
        except PortInUseError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


if __name__ == "__main__":
    run(main)
