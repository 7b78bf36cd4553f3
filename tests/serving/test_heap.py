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
walks = []
gc.callbacks.append(lambda phase, info: walks.append(info))
answers = [[] for _ in range(10_000)]
assert not walks
gc.callbacks.pop()
loop = []; loop.append(loop); del loop
assert gc.collect() >= 1
"""


def test_what_lives_at_the_start_is_never_walked_again_answers_seldom_and_garbage_is_still_found() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
