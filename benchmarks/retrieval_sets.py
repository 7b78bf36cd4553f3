"""Labelled sets for retrieval: documents, questions, and which documents answer which question."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.public_data import public_data
from thumbwheel.settings import REPOSITORY


@dataclass(frozen=True)
class LabelledSet:
    """Documents by id, as title and text; questions with the ids of their documents, none where nothing answers."""

    name: str
    documents: dict[str, tuple[str, str]]
    questions: list[tuple[str, frozenset[str]]]

    @property
    def answerable(self) -> list[tuple[str, frozenset[str]]]:
        return [question for question in self.questions if question[1]]

    @property
    def unanswerable(self) -> list[str]:
        return [text for text, relevant in self.questions if not relevant]


def seed() -> LabelledSet:
    """The seed's own questions over its help pages."""
    from stages.pose import read_documents

    pages = read_documents("data/seed/knowledge")
    documents = {name: (text.partition("\n\n")[0], text.partition("\n\n")[2]) for name, text in pages.items()}
    rows = _lines(REPOSITORY / "data" / "seed" / "eval" / "questions.jsonl")
    return LabelledSet("seed", documents, [(row["question"], frozenset(row["documents"])) for row in rows])


def anthropic_docs() -> LabelledSet:
    """Sections of a product's documentation, and questions on one or several of them."""
    folder = public_data("rag/anthropic_cookbook_retrieval")
    rows = json.loads((folder / "anthropic_docs.json").read_text())
    documents = {row["chunk_link"]: (row["chunk_heading"], row["text"]) for row in rows}
    asked = json.loads((folder / "docs_evaluation_dataset.json").read_text())
    return LabelledSet("anthropic_docs", documents, [(r["question"], frozenset(r["correct_chunks"])) for r in asked])


def anthropic_code() -> LabelledSet:
    """Pieces of source code, and questions on one of them."""
    folder = public_data("rag/anthropic_cookbook_retrieval")
    documents = {
        f"{row['original_uuid']}/{chunk['original_index']}": ("", chunk["content"])
        for row in json.loads((folder / "codebase_chunks.json").read_text())
        for chunk in row["chunks"]
    }
    asked = [
        (row["query"], frozenset(f"{uuid}/{place}" for uuid, place in row["golden_chunk_uuids"]))
        for row in _lines(folder / "evaluation_set.jsonl")
    ]
    return LabelledSet("anthropic_code", documents, asked)


def xquad() -> LabelledSet:
    """Paragraphs of Wikipedia, and questions that SQuAD's annotators asked of one of them."""
    data = json.loads((public_data("rag/xquad_en") / "xquad.en.json").read_text())["data"]
    paragraphs = [paragraph for article in data for paragraph in article["paragraphs"]]
    documents = {str(place): ("", paragraph["context"]) for place, paragraph in enumerate(paragraphs)}
    asked = [(qa["question"], frozenset([str(n)])) for n, p in enumerate(paragraphs) for qa in p["qas"]]
    return LabelledSet("xquad_en", documents, asked)


def clapnq() -> LabelledSet:
    """Passages of Wikipedia and questions that people asked a search engine, half of which their passage answers.

    The passages are those of the annotated file, not the whole collection of its authors, and so fewer to confuse.
    """
    folder = public_data("rag/clapnq")
    documents: dict[str, tuple[str, str]] = {}
    asked = []
    for kind in ("answerable", "unanswerable"):
        for row in _lines(folder / f"annotated_data_dev_clapnq_dev_{kind}.jsonl"):
            documents[row["id"]] = (row["passages"][0]["title"], row["passages"][0]["text"])
            asked.append((row["input"], frozenset([row["id"]] if kind == "answerable" else [])))
    return LabelledSet("clapnq", documents, asked)


SETS: dict[str, Callable[[], LabelledSet]] = {
    "seed": seed,
    "anthropic_docs": anthropic_docs,
    "anthropic_code": anthropic_code,
    "xquad_en": xquad,
    "clapnq": clapnq,
}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
