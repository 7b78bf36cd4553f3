"""A Redis server of its own for a test, on the loopback."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import eventually, listens
from thumbwheel.engine import free_port


@contextmanager
def running_redis(folder: Path, port: int | None = None) -> Iterator[int]:
    """Run the server for the length of a `with` block and yield its port; skip where none is installed."""
    binary, port = shutil.which("redis-server"), port or free_port()
    if binary is None:
        pytest.skip("redis-server is not installed")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        assert eventually(lambda: listens(port))
        yield port
    finally:
        server.kill()
        server.wait()
