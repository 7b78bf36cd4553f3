"""The engine's rewording and the reranker's order, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from serving.breaker import Breaker
from serving.options import BreakerOptions
from serving.retrieval.rerank import Reranker, configured_reranker, places
from serving.retrieval.rewrite import asking, questions_in, simpler_questions
from serving.upstream import Upstream
from tests.fakes import fake_engine, served
from thumbwheel.errors import SettingsError
from thumbwheel.settings import settings


def test_questions_are_taken_without_numbers_bullets_and_repeats() -> None:
    text = "Sure!\n1. Is red a fault?\n- Is white a fault?\n* Is red a fault?\n(3) Both?\nThe end."
    assert questions_in(text, "Both?", 5) == ["Is red a fault?", "Is white a fault?"]
    assert questions_in(text, "", 1) == ["Is red a fault?"]


@given(st.text(max_size=200), st.integers(0, 4))
def test_whatever_the_engine_writes_only_questions_come_of_it(text: str, limit: int) -> None:
    found = questions_in(text, "x?", limit)
    assert len(found) <= limit
    assert all(line.endswith("?") and line == line.strip() for line in found)


async def test_the_engine_is_asked_greedily_for_simpler_questions() -> None:
    with fake_engine() as engine:
        engine.text = "Is red a fault?\nIs white one?"
        upstream = Upstream(engine.url, Breaker(BreakerOptions(failures=2, rest_seconds=1)))
        found = await simpler_questions("Red or white?", 2, asking(upstream, "chat/3"), 50)
        await upstream.close()
    assert found == ["Is red a fault?", "Is white one?"]
    (payload,) = engine.payloads
    assert (payload["model"], payload["temperature"], payload["max_tokens"]) == ("chat/3", 0, 50)
    assert "Red or white?" in payload["messages"][0]["content"]


class FakeReranker:
    """An endpoint that finds longer documents more relevant."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], str | None]] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/rerank", self._rank, methods=["POST"])])

    async def _rank(self, request: Request) -> JSONResponse:
        body = json.loads(await request.body())
        self.asked.append((body, request.headers.get("Authorization")))
        results = [{"index": n, "relevance_score": len(text)} for n, text in enumerate(body["documents"])]
        return JSONResponse({"id": "r-1", "results": results})


async def test_a_reranker_is_asked_in_the_common_format() -> None:
    fake = FakeReranker()
    with served(fake.app()) as url:
        reranker = Reranker(f"{url}/v1", "cross-encoder", "secret", 60)
        assert await reranker.order("red?", ["a", "ccc", "bb"]) == [1, 2, 0]
        await reranker.close()
    wanted = {"query": "red?", "documents": ["a", "ccc", "bb"], "top_n": 3, "model": "cross-encoder"}
    assert fake.asked == [(wanted, "Bearer secret")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"results": [{"index": 0}]}',
        b'{"results": []}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 7, "relevance_score": 1}]}',
    ],
)
def test_what_is_no_order_of_the_documents_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="reranker"):
        places(content, 2)


async def test_a_reranker_that_refuses_is_an_error() -> None:
    with served(Starlette()) as url:
        reranker = Reranker(url, None, None, 5)
        with pytest.raises(httpx.HTTPStatusError):
            await reranker.order("red?", ["a"])
        await reranker.close()


def test_reranking_wants_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THUMBWHEEL_RERANK_URL", raising=False)
    settings.cache_clear()
    with pytest.raises(SettingsError, match="THUMBWHEEL_RERANK_URL"):
        configured_reranker(1)
