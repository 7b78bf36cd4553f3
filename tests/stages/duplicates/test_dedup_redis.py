"""Writers that share an index on a real Redis come to the decisions of one process, at the same time or killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stages.dedup import deduplicate
from stages.duplicates.clusters import forest, roots
from stages.duplicates.dedup_redis import RedisHistory, SharedIndex, open_shared
from stages.duplicates.documents import conversation_documents
from tests.real_redis import running_redis
from tests.stages.duplicates.test_dedup_ray import clusters_in_process, texts
from tests.stages.duplicates.test_minhash import folded
from tests.stages.test_dedup import PARAMS, chat, dedup
from thumbwheel.errors import SettingsError
from thumbwheel.records import CONVERSATION, to_table
from thumbwheel.settings import REPOSITORY

WRITER = """
import sys
from tests.stages.test_dedup import PARAMS
from tests.stages.duplicates.test_minhash import folded
from stages.duplicates.dedup_redis import SharedIndex
rows = sys.stdin.read().splitlines()
SharedIndex(sys.argv[1], PARAMS.sketch, PARAMS.threshold).add(folded([[("", row)] for row in rows]))
"""


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of its own on the loopback."""
    with running_redis(tmp_path) as port:
        yield f"redis://127.0.0.1:{port}/0"


def write(url: str, rows: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, url]
    writer = subprocess.Popen(command, cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY)}, stdin=-1, text=True)
    assert writer.stdin is not None
    writer.stdin.write("\n".join(rows))
    writer.stdin.close()
    return writer


def clusters_of(url: str, rows: list[str]) -> np.ndarray:
    """Return the clusters among rows as any writer reads them off."""
    index = SharedIndex(url, PARAMS.sketch, PARAMS.threshold)
    names = index.add(folded([[("", row)] for row in rows[:0]])) or _names(rows)
    return roots(forest(len(rows), index.pairs(names)))


def _names(rows: list[str]) -> list[bytes]:
    from stages.duplicates.dedup_redis import digest
    from stages.duplicates.words import fold

    return [digest(fold([("", row)])) for row in rows]


@pytest.mark.slow
def test_two_writers_at_once_come_to_the_clusters_of_one_process(redis_url: str) -> None:
    rows = sorted(set(texts(240)))
    writers = [write(redis_url, rows[0::2]), write(redis_url, rows[1::2])]
    assert [writer.wait(600) for writer in writers] == [0, 0]
    assert (clusters_of(redis_url, rows) == clusters_in_process(rows)).all()


@pytest.mark.slow
def test_a_killed_writer_that_starts_again_loses_no_pair(redis_url: str) -> None:
    rows = sorted(set(texts(240)))
    index = SharedIndex(redis_url, PARAMS.sketch, PARAMS.threshold)
    some = folded([[("", row)] for row in rows])
    index._store = _killed  # type: ignore[method-assign]
    with pytest.raises(InterruptedError):
        index.add(some)
    SharedIndex(redis_url, PARAMS.sketch, PARAMS.threshold).add(some)
    assert (clusters_of(redis_url, rows) == clusters_in_process(rows)).all()


def _killed(*_: object) -> None:
    raise InterruptedError


@pytest.mark.slow
def test_the_verdicts_of_the_stage_are_the_same_whoever_else_writes(redis_url: str) -> None:
    rows = [chat("Q?", text, f"2026-01-{i % 28 + 1:02}") for i, text in enumerate(texts(60))]
    shared = open_shared(redis_url, PARAMS.sketch, PARAMS.threshold)
    others = RedisHistory(shared, PARAMS.sketch, PARAMS.threshold)
    deduplicate(to_table(rows[30:], CONVERSATION), conversation_documents, PARAMS, others)
    seen = RedisHistory(shared, PARAMS.sketch, PARAMS.threshold)
    for batch in (rows[:20], rows[:40]):
        kept, dropped = deduplicate(to_table(batch, CONVERSATION), conversation_documents, PARAMS, seen)
        assert (kept.to_pylist(), dropped.to_pylist()) == dedup(*batch)


@pytest.mark.slow
def test_other_parameters_are_another_index(redis_url: str) -> None:
    rows = sorted(set(texts(40)))
    SharedIndex(redis_url, PARAMS.sketch, 0.3).add(folded([[("", row)] for row in rows]))
    assert len(SharedIndex(redis_url, PARAMS.sketch, PARAMS.threshold).pairs(_names(rows))) == 0


def test_redis_without_an_address_says_which_variable_to_set() -> None:
    with pytest.raises(SettingsError, match="THUMBWHEEL_REDIS_URL is not set"):
        open_shared(None, PARAMS.sketch, PARAMS.threshold)


def test_a_redis_that_does_not_answer_is_named() -> None:
    with pytest.raises(SettingsError, match="no Redis answers"):
        open_shared("redis://127.0.0.1:1/0", PARAMS.sketch, PARAMS.threshold)
