"""Small knowledge indexes, with vectors of a fake sentence model that knows the words of a short list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.documents.chunks import Origin, chunk_id
from thumbwheel.folders import whole_folder
from thumbwheel.knowledge import IndexRecord, Quantization, chunk_schema, index_hash, write_index

VOCABULARY = ("light", "red", "white", "valve", "frost", "refund", "days", "parcel")
"""A vector has a place for each, and a last one for all other words."""

Row = tuple[str, str, str]


def bag_of_words(texts: Sequence[str]) -> np.ndarray:
    """Return unit vectors, shape (texts, width), that count the words of `VOCABULARY`."""
    counts = np.zeros((len(texts), len(VOCABULARY) + 1), np.float32)
    for place, text in enumerate(texts):
        for word in text.lower().replace("?", " ").replace(".", " ").split():
            counts[place, VOCABULARY.index(word) if word in VOCABULARY else -1] += 1 if word in VOCABULARY else 0.1
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-6)


PAGES: tuple[Row, ...] = (
    ("public", "Lights of the Hub", "A red light means a fault. A white light means pairing."),
    ("public", "Frost", "Bring the valve in before frost."),
    ("acme", "Refunds at Acme", "A refund takes 14 days."),
    ("umbrella", "Refunds at Umbrella", "A refund takes 90 days."),
)
"""Tenant, title and text."""


def tiny_index(folder: Path, rows: Sequence[Row] = PAGES, quantization: Quantization = "none") -> str:
    """Write an index of these rows to `folder` and return its hash."""
    vectors = bag_of_words([f"{title} {text}" for _, title, text in rows])
    chunks = [
        {
            "id": chunk_id(Origin(title, tenant, None), title, text),
            "tenant": tenant,
            "source": f"{title}.md",
            "title": title,
            "text": text,
            "link": f"https://help.example/{place}" if tenant == "public" else None,
            "vector": vectors[place].tolist(),
        }
        for place, (tenant, title, text) in enumerate(rows)
    ]
    width = len(VOCABULARY) + 1
    record = IndexRecord(
        documents=len(rows),
        chunks=len(rows),
        tenants=tuple(sorted({tenant for tenant, _, _ in rows})),
        encoder="bag of words",
        dtype="float32",
        width=width,
        quantization=quantization,
    )
    with whole_folder(folder) as part:
        write_index(part, pa.Table.from_pylist(chunks, schema=chunk_schema(width)), record)
    return index_hash(folder)
