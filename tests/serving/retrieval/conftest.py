"""A real Milvus Lite over a small index, and stand-ins for what may fail."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.breaker import Breaker
from serving.options import SHIPPED, BreakerOptions, RetrievalOptions, load_options
from serving.retrieval.pipeline import Helpers, Retrieval
from serving.retrieval.store import Hit, MilvusStore, Query
from serving.sentences import Sentences
from tests.indexes import bag_of_words, tiny_index


def retrieval_options(**changes: Any) -> RetrievalOptions:
    """Return the options shipped with some of them changed."""
    return RetrievalOptions.model_validate({**load_options(SHIPPED).retrieval.model_dump(), **changes})


def hit(number: int, tenant: str = "public", cosine: float = 0.9, text: str = "A red light means a fault.") -> Hit:
    return Hit(f"id-{number}", tenant, f"page-{number}.md", f"Page {number}", text, None, cosine)


@dataclass
class FakeStore:
    """A store that gives what it is told to, or fails."""

    hits: list[Hit] = field(default_factory=list)
    error: Exception | None = None
    queries: list[Query] = field(default_factory=list)
    is_closed: bool = False

    def search(self, query: Query, tenants: Sequence[str], limit: int) -> list[Hit]:
        self.queries.append(query)
        if self.error:
            raise self.error
        return self.hits[:limit]

    def close(self) -> None:
        self.is_closed = True


def retrieval_over(store: Any, helpers: Helpers | None = None, **changes: Any) -> Retrieval:
    breaker = Breaker(BreakerOptions(failures=2, rest_seconds=60))
    meanings = Sentences(bag_of_words, len, 1000)
    return Retrieval(retrieval_options(**changes), store, meanings, breaker, helpers or Helpers())


@pytest.fixture(autouse=True, scope="package")
def _impatient() -> Iterator[None]:
    """Look often whether Milvus has made an index: its client looks twice a second, and these indexes are tiny."""
    from pymilvus.client import grpc_handler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc_handler, "time", SimpleNamespace(time=time.time, sleep=lambda _: time.sleep(0.01)))
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusStore]:
    """The pages of `tests.indexes` in Milvus Lite."""
    folder: Path = tmp_path_factory.mktemp("knowledge")
    tiny_index(folder / "index")
    store = MilvusStore(str(folder / "milvus.db"), folder / "index", candidates=10, rrf=60, seconds=20)
    yield store
    store.close()
