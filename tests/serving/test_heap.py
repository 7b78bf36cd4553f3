"""The collector after start."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc
from serving.heap import settle
kept = [[] for _ in range(1000)]
settle()
assert gc.get_freeze_count() > 1000
assert not any(one is kept for one in gc.get_objects())
loop = []; loop.append(loop); del loop
assert gc.collect() >= 1
"""


def test_what_lives_at_the_start_is_never_walked_again_and_later_garbage_is_still_found() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
