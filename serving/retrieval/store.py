"""The chunks in Milvus, a Lite file or a cluster: dense and BM25 search, fused by reciprocal rank, within tenants."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from thumbwheel.knowledge import IndexRecord, Quantization, index_hash, read_chunks, read_record, tenant_name

if TYPE_CHECKING:
    import numpy as np
    from pymilvus import AnnSearchRequest, MilvusClient

logger = logging.getLogger(__name__)

PREFIX = "knowledge_"
"""Of our collections; the rest of a name is the index's hash."""
BATCH = 500
SHOWN = ("id", "tenant", "source", "title", "text", "link")
DENSE: Mapping[Quantization, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "none": ("FLAT", {}, {}),
    "sq8": ("IVF_SQ8", {"nlist": 128}, {"nprobe": 16}),
    "pq": ("IVF_PQ", {"nlist": 128, "m": 48, "nbits": 8}, {"nprobe": 16}),
}
"""Milvus' index of the vectors, how it is built and how it is searched."""

STOP_WORDS = (  # noqa: SIM905
    "a about an and any are as at be been but by can could did do does for from had has have he her his how i "
    "if in is it its me may my no not of on or our she should so than that the their them then there these "
    "they this those to us was we were what when where which who whom whose why will with would you your"
).split()
"""Words that every question shares; BM25 is misled by them in short questions."""
ANALYZER = {"tokenizer": "standard", "filter": ["lowercase", {"type": "stop", "stop_words": STOP_WORDS}]}


@dataclass(frozen=True)
class Hit:
    """A chunk that was found: `cosine`, between -1 and 1, is its vector's with the nearest wording of the question."""

    id: str
    tenant: str
    source: str
    title: str
    text: str
    link: str | None
    cosine: float


@dataclass(frozen=True)
class Query:
    """What is looked for: every text by its words, every vector, of shape (vectors, width), by its direction.

    The first `wordings` vectors are the question's own; the others are guesses that tell nothing of relevance.
    """

    texts: tuple[str, ...]
    vectors: np.ndarray
    wordings: int


class Retriever(Protocol):
    """Where chunks are looked up."""

    def search(self, query: Query, tenants: Sequence[str], limit: int) -> list[Hit]: ...

    def close(self) -> None: ...


class MilvusStore:
    """An index in a Milvus collection of its own, filled from its files when it is not there yet.

    `uri` is a file of Milvus Lite, which runs in threads of this process, or the address of a cluster.
    """

    def __init__(self, uri: str, folder: Path, candidates: int, rrf: int, seconds: float, token: str = "") -> None:
        self._uri, self._folder, self._token = uri, folder, token
        self._candidates, self._rrf, self._seconds = candidates, rrf, seconds
        self._lock = threading.Lock()
        self._opened: tuple[MilvusClient, str, IndexRecord] | None = None

    @property
    def is_lite(self) -> bool:
        return "://" not in self._uri

    def open(self) -> None:
        """Connect, and fill the collection where it is not whole.

        Raises:
            MilvusException: Milvus cannot be reached or refuses.
            IndexDamageError: the index's files cannot be read.
        """
        with self._lock:
            if self._opened is None:
                self._opened = self._open()

    def search(self, query: Query, tenants: Sequence[str], limit: int) -> list[Hit]:
        """Return the best chunks of these tenants, best first; none of another tenant's.

        Raises:
            MilvusException: Milvus cannot be reached or refuses.
        """
        from pymilvus import RRFRanker

        self.open()
        assert self._opened is not None
        client, name, record = self._opened
        found = client.hybrid_search(
            name,
            self._requests(query, tenants, record),
            RRFRanker(self._rrf),
            limit=limit,
            output_fields=[*SHOWN, "vector"],
            timeout=self._seconds,
        )
        return own([_hit(row["entity"], query.vectors[: query.wordings]) for row in found[0]], tenants)

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened[0].close()
                self._opened = None
            if self.is_lite:
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(self._uri)

    def _requests(self, query: Query, tenants: Sequence[str], record: IndexRecord) -> list[AnnSearchRequest]:
        from pymilvus import AnnSearchRequest

        only = tenant_filter(tenants)
        dense = {"metric_type": "COSINE", "params": DENSE[served_quantization(record, self.is_lite)][2]}
        by_vector = [
            AnnSearchRequest([one.tolist()], "vector", dense, self._candidates, expr=only) for one in query.vectors
        ]
        by_words = [
            AnnSearchRequest([text], "words", {"metric_type": "BM25"}, self._candidates, expr=only)
            for text in query.texts
        ]
        return by_vector + by_words

    def _open(self) -> tuple[MilvusClient, str, IndexRecord]:
        from pymilvus import MilvusClient

        record, name = read_record(self._folder), PREFIX + index_hash(self._folder)[:24]
        if self.is_lite:
            Path(self._uri).parent.mkdir(parents=True, exist_ok=True)
            logging.getLogger("grpc._server").setLevel(logging.CRITICAL)  # its client tries calls that Lite lacks
        client = MilvusClient(self._uri, token=self._token, timeout=self._seconds)
        if self.is_lite:
            drop_others(client, name)
        if not _is_whole(client, name, record):
            fill(client, name, record, read_chunks(self._folder), self.is_lite)
            logger.info("the index %s of %d chunks is in %s", name, record.chunks, self._uri)
        client.load_collection(name)
        return client, name, record


def tenant_filter(tenants: Sequence[str]) -> str:
    """Return Milvus' filter expression for the chunks of these tenants alone.

    Raises:
        ValueError: there is none, or a name is not of the form that needs no quoting.
    """
    if not tenants:
        raise ValueError("there is no tenant to search for")
    return f"tenant in {json.dumps(sorted({tenant_name(name) for name in tenants}))}"


def own(hits: Iterable[Hit], tenants: Sequence[str]) -> list[Hit]:
    """Return the hits of these tenants; one of another's, which Milvus should not have given, is never passed on."""
    kept, allowed = [], set(tenants)
    for hit in hits:
        if hit.tenant in allowed:
            kept.append(hit)
        else:
            logger.error("Milvus gave a chunk of another tenant; it was dropped")
    return kept


def served_quantization(record: IndexRecord, is_lite: bool) -> Quantization:
    """Return how the vectors are kept: as the index wishes, but in Milvus Lite, which has no `pq`, `sq8` instead."""
    return "sq8" if is_lite and record.quantization == "pq" else record.quantization


def fill(client: MilvusClient, name: str, record: IndexRecord, rows: list[dict[str, Any]], is_lite: bool) -> None:
    """Make a collection and put all chunks into it; what is there already is written over."""
    if not client.has_collection(name):
        client.create_collection(name, schema=_schema(record), index_params=_indexes(client, record, is_lite))
    for begin in range(0, len(rows), BATCH):
        some = [{**row, "words_of": f"{row['title']}\n\n{row['text']}"} for row in rows[begin : begin + BATCH]]
        client.upsert(name, some)
    client.flush(name)


def drop_others(client: MilvusClient, name: str) -> None:
    """Drop collections of earlier indexes, which any release can fill again."""
    for other in client.list_collections():
        if other.startswith(PREFIX) and other != name:
            client.drop_collection(other)


def _is_whole(client: MilvusClient, name: str, record: IndexRecord) -> bool:
    if not client.has_collection(name):
        return False
    client.load_collection(name)
    return int(client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"]) == record.chunks


def _schema(record: IndexRecord) -> Any:
    from pymilvus import DataType, Function, FunctionType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("tenant", DataType.VARCHAR, max_length=64)
    for field in ("source", "title", "text"):
        schema.add_field(field, DataType.VARCHAR, max_length=65_535)
    schema.add_field("link", DataType.VARCHAR, max_length=4096, nullable=True)
    schema.add_field("words_of", DataType.VARCHAR, max_length=65_535, enable_analyzer=True, analyzer_params=ANALYZER)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=record.width)
    bm25 = Function(
        name="bm25", function_type=FunctionType.BM25, input_field_names=["words_of"], output_field_names=["words"]
    )
    schema.add_function(bm25)
    return schema


def _indexes(client: MilvusClient, record: IndexRecord, is_lite: bool) -> Any:
    kind, build, _ = DENSE[served_quantization(record, is_lite)]
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type=kind, metric_type="COSINE", params=build)
    indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    return indexes


def _hit(row: Mapping[str, Any], wordings: np.ndarray) -> Hit:
    import numpy as np

    cosine = float(np.max(wordings @ np.asarray(row["vector"], np.float32), initial=-1.0))
    return Hit(**{name: row[name] for name in SHOWN}, cosine=cosine)
