"""What fewer bits a vector cost in recall and save in size, at 100,000 vectors: part of `benchmarks.retrieval`.

Texts are windows of 8 to 40 words of real documents; queries are other such windows. The indexes are faiss', on which
Milvus Lite runs, with the parameters of the store; product quantization is what a Milvus cluster does for `pq`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.dedup_corpus import short_corpus
from benchmarks.measure import markdown
from serving.retrieval.store import DENSE
from thumbwheel.embedding import WIDTH, embed

VECTORS, QUERIES = 100_000, 500
DRAWN = 104_000
"""Windows, of which some are equal."""
DEPTH = 10


def vectors() -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors to search and those to search by, each of shape (texts, width); kept once computed."""
    texts = list(dict.fromkeys(str(row["text"]) for row in short_corpus(DRAWN)))[: VECTORS + QUERIES]
    found = embed(texts, "bfloat16").of(texts)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found[:VECTORS], found[VECTORS:]


def indexes() -> Iterator[tuple[str, Any]]:
    """Yield faiss' indexes by name, as the store asks Milvus for them."""
    import faiss

    cosine = faiss.METRIC_INNER_PRODUCT
    yield "none: exact, float32", faiss.IndexFlatIP(WIDTH)
    _, build, search = DENSE["sq8"]
    scalar = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(WIDTH), WIDTH, build["nlist"], faiss.ScalarQuantizer.QT_8bit, cosine
    )
    scalar.nprobe = search["nprobe"]
    yield "sq8: IVF, a byte a number", scalar
    yield "sq8, every cell probed", _probing_all(scalar)
    _, build, search = DENSE["pq"]
    product = faiss.IndexIVFPQ(faiss.IndexFlatIP(WIDTH), WIDTH, build["nlist"], build["m"], build["nbits"], cosine)
    product.nprobe = search["nprobe"]
    yield f"pq: IVF, {build['m']} bytes a vector", product
    yield "pq, every cell probed", _probing_all(product)


def measured(index: Any, base: np.ndarray, asked: np.ndarray, exact: np.ndarray) -> tuple[str, ...]:
    """Return recall of the exact ten, size and cost of an index."""
    import faiss

    began = time.monotonic()
    if not index.is_trained:
        index.train(base)
    if not index.ntotal:
        index.add(base)
    built = time.monotonic() - began
    began = time.monotonic()
    _, found = index.search(asked, DEPTH)
    milliseconds = 1000 * (time.monotonic() - began) / len(asked)
    recall = np.mean([len(set(a) & set(b)) / DEPTH for a, b in zip(found, exact, strict=True)])
    first = np.mean([b[0] in a for a, b in zip(found, exact, strict=True)])
    size = faiss.serialize_index(index).nbytes / 1e6
    return f"{size:.1f}", f"{recall:.3f}", f"{first:.3f}", f"{built:.1f}", f"{milliseconds:.2f}"


def print_quantization() -> None:
    import faiss

    faiss.omp_set_num_threads(1)
    base, asked = vectors()
    _, exact = _exact(base, asked)
    rows = [(name, *measured(index, base, asked, exact)) for name, index in indexes()]
    heading = ("vectors kept as", "MB", "recall@10 of exact", "the nearest is found", "build, s", "ms a query")
    print(f"{len(base):,} vectors of {WIDTH} numbers, {len(asked)} queries, one thread.\n\n{markdown(heading, rows)}")


def _exact(base: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    index = faiss.IndexFlatIP(WIDTH)
    index.add(base)
    found: tuple[np.ndarray, np.ndarray] = index.search(asked, DEPTH)
    return found


def _probing_all(index: Any) -> Any:
    import faiss

    copy: Any = faiss.clone_index(index)
    copy.nprobe = index.nlist
    return copy
