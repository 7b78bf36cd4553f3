"""Deduplicate with the functions that the stage runs, on one column of text, keeping the first of each cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

import pyarrow as pa
from contract import run

from stages.dedup import verdicts
from stages.duplicates.dedup_history import History
from stages.duplicates.dedup_params import DedupParams
from stages.duplicates.folding import Documents
from thumbwheel.params import load_params

START = ["a row to load the kernels with", "a row, to load the kernels with", "naïve"]


@cache
def parameters() -> DedupParams:
    """Return the parameters of `params.yaml`, but for the rules: of a cluster the row of the least id stays.

    A third argument, a JSON object, changes others.
    """
    changes = json.loads(sys.argv[3]) if len(sys.argv) > 3 and sys.argv[3].startswith("{") else {}
    return load_params("dedup", DedupParams).model_copy(update={"keep": (), **changes})


def kept(path: str) -> Iterable[str]:
    """Return the ids of the rows of a JSONL file that stay."""
    return kept_of(read(path))


def kept_of(table: pa.Table) -> Iterable[str]:
    """Return the ids of the rows that stay."""
    history = History(parameters().sketch, parameters().threshold)
    stays, _ = verdicts(table, documents, parameters(), history)
    return list(map(str, table["id"].take(stays).to_pylist()))


def read(path: str) -> pa.Table:
    """Return ids and texts of a JSONL file.

    Arrow's own allocator asks for huge pages; where memory is in pieces, making them took up to twice the reading.
    """
    from pyarrow.json import ParseOptions, ReadOptions, read_json

    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    only = ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    options = ReadOptions(use_threads=False, block_size=1 << 20)
    return read_json(pa.memory_map(path), options, only, memory_pool=pa.jemalloc_memory_pool())


def documents(table: pa.Table) -> Documents:
    """Return the texts of a table as documents."""
    from stages.duplicates.documents import text_documents

    return text_documents(table["text"])


if __name__ == "__main__":
    kept_of(pa.table({"id": list("abc"), "text": START}))
    run(kept)
