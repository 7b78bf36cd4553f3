"""A cross-encoder behind an endpoint: `/rerank` in the format of Cohere and Jina, which vLLM serves as well."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
from pydantic import BaseModel, ValidationError

from thumbwheel.errors import SettingsError
from thumbwheel.settings import settings


class Result(BaseModel):
    """One document of the answer: its place in the request, and how relevant it is."""

    index: int
    relevance_score: float


class Answer(BaseModel):
    results: list[Result]


class Reranker:
    """A client of one endpoint."""

    def __init__(self, url: str, model: str | None, key: str | None, seconds: float) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._model = model
        self._client = httpx.AsyncClient(base_url=url.rstrip("/") + "/", headers=headers, timeout=seconds)

    async def order(self, question: str, texts: Sequence[str]) -> list[int]:
        """Return the places of the texts, most relevant first.

        Raises:
            httpx.HTTPError: the endpoint cannot be reached or refuses.
            ValueError: it does not answer in the format, or not for every text.
        """
        body = {"query": question, "documents": list(texts), "top_n": len(texts)}
        response = await self._client.post("rerank", json=body | ({"model": self._model} if self._model else {}))
        return places(response.raise_for_status().content, len(texts))

    async def close(self) -> None:
        await self._client.aclose()


def places(content: bytes, count: int) -> list[int]:
    """Return the places in an answer, by falling relevance.

    Raises:
        ValueError: the answer is not in the format, or does not name each of `count` documents once.
    """
    try:
        results = Answer.model_validate_json(content).results
    except ValidationError as error:
        raise ValueError(f"not an answer of a reranker ({error.error_count()} faults)") from None
    ordered = [result.index for result in sorted(results, key=lambda one: -one.relevance_score)]
    if sorted(ordered) != list(range(count)):
        raise ValueError(f"the reranker named the documents {ordered} of {count}")
    return ordered


def configured_reranker(seconds: float) -> Reranker:
    """Return a client of the endpoint that the environment names.

    Raises:
        SettingsError: it names none.
    """
    place = settings()
    if place.rerank_url is None:
        raise SettingsError("serving.yaml turns reranking on: set THUMBWHEEL_RERANK_URL, or retrieval.rerank: false.")
    key = place.rerank_api_key.get_secret_value() if place.rerank_api_key else None
    return Reranker(place.rerank_url, place.rerank_model, key, seconds)
