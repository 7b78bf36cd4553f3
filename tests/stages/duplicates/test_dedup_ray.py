"""A Ray cluster of two workers finds the clusters that one process finds."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from stages.dedup import deduplicate
from stages.duplicates.dedup_ray import RayHistory, clusters_on_ray
from stages.duplicates.documents import conversation_documents
from tests.stages.duplicates.test_minhash import folded
from tests.stages.test_dedup import PARAMS, chat, dedup
from thumbwheel.records import CONVERSATION, to_table
from thumbwheel.settings import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A Ray cluster of two workers on this machine."""
    ray = pytest.importorskip("ray")
    environment = {"env_vars": {"PYTHONPATH": str(REPOSITORY)}}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env=environment, object_store_memory=100 << 20)
    yield
    ray.shutdown()


def texts(count: int) -> list[str]:
    rng = random.Random(3)
    words = [f"w{i}" for i in range(40)]
    base = [" ".join(rng.choices(words, k=40)) for _ in range(count // 4)]
    return [rng.choice(base).replace(rng.choice(words), "x", rng.randint(0, 2)) for _ in range(count)]


def test_the_clusters_are_those_of_one_process() -> None:
    rows = texts(400)
    shards = [folded([[("", text)] for text in rows[start : start + 150]]) for start in (0, 150, 300)]
    found = clusters_on_ray(shards, PARAMS.sketch, PARAMS.threshold)
    here = clusters_on_ray([folded([[("", text)] for text in rows])], PARAMS.sketch, PARAMS.threshold)
    alone = clusters_in_process(rows)
    assert (found == alone).all()
    assert (here == alone).all()
    assert 1 < len(np.unique(found)) < len(rows)


def clusters_in_process(rows: list[str]) -> np.ndarray:
    from stages.duplicates.clusters import forest, link_within, roots, sketch

    some = sketch(folded([[("", text)] for text in rows]), PARAMS.sketch)
    parents = forest(len(rows), np.empty((0, 2), np.int64))
    link_within(some, 0, parents, PARAMS.words, PARAMS.threshold)
    return roots(parents)


def test_the_verdicts_of_the_stage_are_the_same() -> None:
    rows = [chat("Q?", text, f"2026-01-{i % 28 + 1:02}") for i, text in enumerate(texts(120))]
    seen = RayHistory(PARAMS.sketch, PARAMS.threshold)
    for batch in (rows[:80], rows):
        kept, dropped = deduplicate(to_table(batch, CONVERSATION), conversation_documents, PARAMS, seen)
        assert (kept.to_pylist(), dropped.to_pylist()) == dedup(*batch)
