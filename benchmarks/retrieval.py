"""How well documents are found, when nothing is known, what quantization costs, and whether answers get better.

    python -m benchmarks.retrieval [sets] [unknown] [quantization] [answers=BUNDLE]    # unless named, the first three
    python -m benchmarks.retrieval sets=seed,clapnq

Everything goes the way that it goes in a release: the chunks of `stages.index`, the store and the options as shipped.
The public sets are read where they are (`THUMBWHEEL_PUBLIC_DATA`) and skipped, with a word, where they are not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.measure import machine, markdown
from benchmarks.public_data import AbsentDataError
from benchmarks.retrieval_sets import SETS, LabelledSet, clapnq, seed
from serving.options import SHIPPED, RetrievalOptions, load_options
from serving.retrieval.store import Hit, MilvusStore, Query
from stages.documents.chunks import Origin, chunks_of
from stages.documents.readers import Document, Section
from stages.index import IndexParams, Reading, chunk_rows, index_record, token_counter
from thumbwheel.encoder import Encoder
from thumbwheel.knowledge import write_index
from thumbwheel.params import load_params
from thumbwheel.settings import REPOSITORY

DEPTH = 10
CANDIDATES = 50
"""Chunks, so that the ten best documents are among them."""
SHOWN_CHUNKS = 3
ASKED = 300
"""Questions of a set, at most."""
WAYS = ("dense", "BM25", "hybrid")
FLOORS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
TENANTS = ["public"]

T = TypeVar("T")


def params() -> IndexParams:
    return load_params("index", IndexParams, REPOSITORY / "params.yaml")


@dataclass(frozen=True)
class Searcher:
    """A set's documents in a store, and the sentence model that questions are embedded by."""

    store: MilvusStore
    encode: Encoder

    def query(self, question: str, way: str) -> Query:
        vectors = self.encode([question])
        if way == "BM25":
            return Query((question,), vectors[:0], 0)
        return Query((question,) if way == "hybrid" else (), vectors, 1)

    def hits(self, question: str, way: str = "hybrid") -> list[Hit]:
        return self.store.search(self.query(question, way), TENANTS, CANDIDATES)


@contextmanager
def searching(documents: dict[str, tuple[str, str]], encode: Encoder) -> Iterator[Searcher]:
    """Build an index of the documents as the stage does, and serve it from a file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "index").mkdir()
        reading, count, chunk = Reading(documents=len(documents)), token_counter(), params().chunk
        for name, (title, text) in documents.items():
            document = Document(title, (Section((), text),))
            reading.chunks += chunks_of(document, Origin(name, "public", None), count, chunk.tokens, chunk.overlap)
        rows = chunk_rows(reading.chunks, params().dtype)
        write_index(place / "index", rows, index_record(reading, rows, params()))
        store = MilvusStore(str(place / "milvus.db"), place / "index", CANDIDATES, shipped().rrf, 60)
        store.open()
        try:
            yield Searcher(store, encode)
        finally:
            store.close()


def sample(questions: Sequence[T]) -> Sequence[T]:
    """Return at most so many questions as are asked of a set, evenly spaced."""
    return questions[:: -(-len(questions) // ASKED)]


def ranked(hits: Sequence[Hit]) -> list[str]:
    """Return the documents of chunks, each at the place of its best chunk."""
    return list(dict.fromkeys(hit.source for hit in hits))


def ndcg(found: Sequence[str], relevant: frozenset[str], depth: int = DEPTH) -> float:
    """Return the normalised discounted cumulative gain of binary labels (Järvelin and Kekäläinen 2002)."""
    gains = [1 / np.log2(place + 2) for place, name in enumerate(found[:depth]) if name in relevant]
    ideal = sum(1 / np.log2(place + 2) for place in range(min(depth, len(relevant))))
    return float(sum(gains) / ideal)


def recall(found: Sequence[str], relevant: frozenset[str], depth: int) -> float:
    return len(relevant.intersection(found[:depth])) / len(relevant)


def quality_rows(item: LabelledSet, encode: Encoder) -> Iterator[tuple[str, ...]]:
    with searching(item.documents, encode) as searcher:
        for way in WAYS:
            began = time.monotonic()
            found = [(ranked(searcher.hits(text, way)), relevant) for text, relevant in sample(item.answerable)]
            milliseconds = 1000 * (time.monotonic() - began) / len(found)
            scores = (
                np.mean([ndcg(*pair) for pair in found]),
                np.mean([recall(*pair, DEPTH) for pair in found]),
                np.mean([recall(*pair, SHOWN_CHUNKS) for pair in found]),
            )
            sizes = (f"{len(item.documents):,}", f"{len(found):,}")
            yield (item.name, *sizes, way, *(f"{score:.3f}" for score in scores), f"{milliseconds:.1f}")


def print_sets(encode: Encoder, names: Sequence[str]) -> None:
    heading = ("set", "documents", "questions", "search", "nDCG@10", "recall@10", "recall@3", "ms a question")
    rows: list[tuple[str, ...]] = []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        try:
            rows += quality_rows(SETS[name](), encode)
        except AbsentDataError as error:
            print(f"skipped {name}: {error}")
    print(markdown(heading, rows))


def print_unknown(encode: Encoder) -> None:
    """Show, for each floor, whose questions are told that nothing is known: answered ones, and unknown ones."""
    best: dict[str, list[float]] = {}
    pages = seed()
    with searching(pages.documents, encode) as searcher:
        best["seed, answered by a page"] = [top(searcher, text) for text, _ in pages.answerable]
        best["seed, on the subject, in no page"] = [top(searcher, text) for text in pages.unanswerable]
        try:
            asked = clapnq()
            best["seed's pages, clapnq's questions"] = [top(searcher, text) for text, _ in sample(asked.questions)]
        except AbsentDataError as error:
            print(f"skipped clapnq: {error}")
            asked = None
    if asked:
        best |= halves(asked, encode)
    heading = ("pages and questions", "questions", *(f"floor {floor}" for floor in FLOORS))
    rows = [
        (name, str(len(values)), *(f"{100 * np.mean(np.array(values) < floor):.0f} %" for floor in FLOORS))
        for name, values in best.items()
    ]
    print(markdown(heading, rows))


def halves(asked: LabelledSet, encode: Encoder) -> dict[str, list[float]]:
    """Return the best cosines of questions whose passage is there, is left out, or is there and does not answer."""
    left_out = [text for text, _ in asked.answerable[1::2]]
    gone = frozenset().union(*(relevant for _, relevant in asked.answerable[1::2]))
    documents = {name: text for name, text in asked.documents.items() if name not in gone}
    with searching(documents, encode) as searcher:
        return {
            "clapnq, answered by a passage": [top(searcher, text) for text, _ in asked.answerable[::2]],
            "clapnq, passage left out": [top(searcher, text) for text in left_out],
            "clapnq, passage there, without the answer": [top(searcher, text) for text in sample(asked.unanswerable)],
        }


def top(searcher: Searcher, question: str) -> float:
    """Return the cosine that the floor is held against."""
    return max(hit.cosine for hit in searcher.hits(question)[: shipped().candidates])


def shipped() -> RetrievalOptions:
    """Return the options of retrieval as shipped."""
    return load_options(SHIPPED).retrieval


def main(wanted: Sequence[str]) -> None:
    options = load_options().sentences
    encode = Encoder(params().dtype, options.threads, options.kept)
    parts = wanted or ("sets", "unknown", "quantization")
    print(f"Measured on {machine()}.\n")
    for part in parts:
        name, _, value = part.partition("=")
        if name == "sets":
            print_sets(encode, value.split(",") if value else list(SETS))
        elif name == "unknown":
            print_unknown(encode)
        elif name == "quantization":
            from benchmarks.retrieval_quantization import print_quantization

            print_quantization()
        elif name == "answers" and value:
            from benchmarks.retrieval_answers import print_answers

            print_answers(Path(value), encode)
        else:
            raise SystemExit(f"error: no part is named '{part}'; known: sets, unknown, quantization, answers=BUNDLE")
        print()


if __name__ == "__main__":
    main(sys.argv[1:])
