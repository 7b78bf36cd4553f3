"""What a benchmark started ends with it, even where it is killed."""

from __future__ import annotations

import subprocess
import sys

import psutil

from tests.waiting import eventually

STARTS = """
import time
from benchmarks.serving_parts import fast_engine
with fast_engine(0.0) as engine:
    print(engine.pid, flush=True)
    time.sleep(600)
"""


def test_a_server_ends_with_the_benchmark_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE) as benchmark:
        assert benchmark.stdout is not None
        server = psutil.Process(int(benchmark.stdout.readline()))
        benchmark.kill()
    assert eventually(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
