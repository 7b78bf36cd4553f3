"""What was compiled ahead is all that a stage needs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from thumbwheel.settings import REPOSITORY

STAGE = """
import sys
from pathlib import Path
from tests.stages.test_dedup import PARAMS, chat, pair
from stages.duplicates import bands, clusters, grams, hashing, minhash, similarity, fold_kernel as folded
from stages.duplicates import rows as ranges
from stages import kernels
from stages.reading import fold_kernel, line_kernel
from stages.dedup import deduplicate
from stages.duplicates.dedup_history import kept_history
from stages.duplicates.documents import conversation_documents, preference_documents
from thumbwheel.records import CONVERSATION, PREFERENCE, to_table

rows = [chat("Q?", text) for text in ("one two three", "one, two, three", "naïve 漢字", "")]
pairs = [pair("Q?", "yes", "no"), pair("Q?", "yes!", "no")]
chats = (rows, conversation_documents, CONVERSATION)
for some, documents_of, schema in (chats, (pairs, preference_documents, PREFERENCE)):
    for batch in (some[:2], some):
        with kept_history(Path(sys.argv[1]) / schema.names[1], PARAMS.sketch, PARAMS.threshold) as history:
            deduplicate(to_table(batch, schema), documents_of, PARAMS, history)
kernels.read_a_line()
modules = (bands, clusters, folded, grams, hashing, minhash, ranges, similarity, fold_kernel, line_kernel)
kernels = [k for module in modules for k in vars(module).values() if hasattr(k, "stats")]
print(sum(sum(k.stats.cache_misses.values()) for k in kernels), sum(sum(k.stats.cache_hits.values()) for k in kernels))
"""


@pytest.mark.slow
def test_a_stage_compiles_nothing(tmp_path: os.PathLike[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-m", "stages.kernels"], cwd=REPOSITORY, env=environment, check=True)
    command = [sys.executable, "-c", STAGE, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    misses, hits = map(int, done.stdout.split())
    assert misses == 0
    assert hits > 10
