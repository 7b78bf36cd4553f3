"""From a message to chunks: what is searched by, what counts as relevant, and what becomes of failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from serving import metrics
from serving.retrieval.pipeline import Helpers
from serving.retrieval.store import Hit, MilvusStore, Query
from tests.serving.retrieval.conftest import FakeStore, hit, retrieval_over

PUBLIC = ["public"]


def value(counter: Any, *labels: str) -> float:
    return float((counter.labels(*labels) if labels else counter)._value.get())


class FakeReranker:
    """Gives the documents in reverse, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def order(self, question: str, texts: Sequence[str]) -> list[int]:
        if self.error:
            raise self.error
        return list(range(len(texts)))[::-1]

    async def close(self) -> None:
        pass


def says(text: str) -> Helpers:
    async def ask(prompt: str, tokens: int) -> str:
        return text

    return Helpers(ask=ask)


def messages(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n, text in enumerate(texts)]


async def test_relevant_chunks_come_in_the_order_of_the_search_and_no_more_than_fit() -> None:
    store = FakeStore([hit(1), hit(2, cosine=0.1), hit(3), hit(4)])
    found = await retrieval_over(store, floor=0.2, chunks=2).find(["red?"], PUBLIC)
    assert [one.id for one in found or []] == ["id-1", "id-3"]


async def test_a_follow_up_is_also_searched_with_what_was_said_before() -> None:
    store = FakeStore([hit(1)])
    await retrieval_over(store).find(["My light is red.", "Why?"], PUBLIC)
    (query,) = store.queries
    assert query.texts == ("Why?", "My light is red.\nWhy?")
    assert query.wordings == len(query.vectors) == 2


async def test_nothing_above_the_floor_answers_a_question_by_the_configured_sentence() -> None:
    retrieval = retrieval_over(FakeStore([hit(1, cosine=0.1)]), unknown="I don't know.")
    asked = await retrieval.ground(messages("Who won the cup?"), PUBLIC, 9000, str)
    greeted = await retrieval.ground(messages("Good morning!"), PUBLIC, 9000, str)
    assert (asked.answer, asked.retrieved) == ("I don't know.", None)
    assert (greeted.answer, greeted.messages) == (None, messages("Good morning!"))


async def test_or_by_the_plain_answer_where_that_is_configured() -> None:
    retrieval = retrieval_over(FakeStore([]), nothing_relevant="plain")
    assert (await retrieval.ground(messages("Who won the cup?"), PUBLIC, 9000, str)).answer is None


async def test_what_was_found_stands_in_the_last_message_and_the_question_is_kept() -> None:
    found = await retrieval_over(FakeStore([hit(1)])).ground(messages("Hi", "Hello!", "Is red bad?"), PUBLIC, 9000, str)
    assert found.messages[:2] == messages("Hi", "Hello!")
    assert "[1] Page 1\n\nA red light means a fault." in found.messages[2]["content"]
    assert found.messages[2]["content"].endswith("Question: Is red bad?")
    assert found.retrieved is not None
    assert found.retrieved["question"] == "Is red bad?"


async def test_without_room_in_the_window_nothing_is_searched() -> None:
    store = FakeStore([hit(1)])
    found = await retrieval_over(store).ground(messages("Is red bad?"), PUBLIC, 100, str)
    assert (found.messages, store.queries) == (messages("Is red bad?"), [])


async def test_a_broken_store_costs_the_documents_is_counted_and_is_left_alone_for_a_while() -> None:
    store = FakeStore(error=RuntimeError("milvus is gone"))
    retrieval = retrieval_over(store)
    before = value(metrics.RETRIEVALS, "failed")
    answers = [await retrieval.ground(messages("Is red bad?"), PUBLIC, 9000, str) for _ in range(4)]
    assert all(one.answer is None and one.messages == messages("Is red bad?") for one in answers)
    assert len(store.queries) == 2
    assert value(metrics.RETRIEVALS, "failed") == before + 4
    assert value(metrics.DEGRADED, "retrieval") == 1


async def test_a_store_that_hangs_is_given_up_in_time() -> None:
    answered = threading.Event()

    class Hanging(FakeStore):
        def search(self, query: Query, tenants: Sequence[str], limit: int) -> list[Hit]:
            answered.wait(60)
            return []

    assert await retrieval_over(Hanging(), seconds=0.1).find(["red?"], PUBLIC) is None
    assert not answered.is_set()
    answered.set()


async def test_a_store_that_came_back_is_no_longer_degraded() -> None:
    store = FakeStore([hit(1)], error=RuntimeError("away"))
    retrieval = retrieval_over(store)
    assert await retrieval.find(["red?"], PUBLIC) is None
    store.error = None
    assert await retrieval.find(["red?"], PUBLIC)
    assert value(metrics.DEGRADED, "retrieval") == 0


async def test_simpler_questions_are_searched_beside_the_one_asked() -> None:
    store = FakeStore([hit(1)])
    helpers = says("1. Is red a fault?\n2. Is white a fault?\nDone.")
    await retrieval_over(store, helpers, decompose=2).find(["Are red and white faults?"], PUBLIC)
    assert store.queries[0].texts == ("Are red and white faults?", "Is red a fault?", "Is white a fault?")


async def test_a_supposed_answer_is_searched_by_its_meaning_alone() -> None:
    store = FakeStore([hit(1)])
    await retrieval_over(store, says("A red light is a fault."), hyde=True).find(["Is red bad?"], PUBLIC)
    (query,) = store.queries
    assert (query.texts, len(query.vectors), query.wordings) == (("Is red bad?",), 2, 1)


async def test_rewriting_that_fails_or_hangs_is_done_without_and_counted() -> None:
    async def fails(prompt: str, tokens: int) -> str:
        raise RuntimeError("no engine")

    async def hangs(prompt: str, tokens: int) -> str:
        await asyncio.sleep(9)
        return ""

    before = value(metrics.RETRIEVAL_FAULTS, "hyde")
    for ask in (fails, hangs):
        store = FakeStore([hit(1)])
        retrieval = retrieval_over(store, Helpers(ask=ask), hyde=True, decompose=2, rewrite_seconds=0.05)
        assert await retrieval.find(["Is red bad?"], PUBLIC)
        assert store.queries[0].texts == ("Is red bad?",)
    assert value(metrics.RETRIEVAL_FAULTS, "hyde") == before + 2


async def test_a_reranker_has_the_last_word_and_one_that_fails_is_done_without() -> None:
    hits = [hit(1), hit(2), hit(3)]
    turned: Any = FakeReranker()
    broken: Any = FakeReranker(ValueError("no"))
    found = await retrieval_over(FakeStore(hits), Helpers(reranker=turned), chunks=2).find(["red?"], PUBLIC)
    kept = await retrieval_over(FakeStore(hits), Helpers(reranker=broken), chunks=2).find(["red?"], PUBLIC)
    assert [one.id for one in found or []] == ["id-3", "id-2"]
    assert [one.id for one in kept or []] == ["id-1", "id-2"]


async def test_closing_closes_the_store() -> None:
    store = FakeStore()
    await retrieval_over(store).close()
    assert store.is_closed


@pytest.mark.parametrize("tenants", [["public"], ["public", "acme"]])
async def test_over_a_real_milvus_a_question_finds_its_page(store: MilvusStore, tenants: list[str]) -> None:
    found = await retrieval_over(store, seconds=20).find(["How many days until I get a refund?"], tenants)
    assert found is not None
    assert {one.tenant for one in found} <= set(tenants)
    assert ("Refunds at Acme" in {one.title for one in found}) == ("acme" in tenants)
