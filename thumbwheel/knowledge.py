"""The knowledge index as it lies on disk and travels with a release: chunks with their vectors, and what they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from thumbwheel.errors import IndexDamageError
from thumbwheel.folders import folder_hash

CHUNKS = "chunks.parquet"
RECORD = "index.json"
TENANT = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""What a tenant may be called; no such name needs quoting in any query language."""

Quantization = Literal["none", "sq8", "pq"]


class IndexRecord(BaseModel):
    """What an index was made of and by; `dtype` and `width` are those of the sentence model's vectors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: int
    chunks: int
    tenants: tuple[str, ...]
    encoder: str
    dtype: str
    width: int
    quantization: Quantization


def tenant_name(text: str) -> str:
    """Return a tenant's name as it is.

    Raises:
        ValueError: it is not of the form `TENANT`.
    """
    if not re.fullmatch(TENANT, text):
        raise ValueError(f"'{text}' is no tenant's name; it must match {TENANT}")
    return text


def chunk_schema(width: int) -> pa.Schema:
    """Return the columns of a chunk: unit vectors of `width` float32, `link` null where the source has no address."""
    texts = [(name, pa.string()) for name in ("id", "tenant", "source", "title", "text", "link")]
    return pa.schema([*texts, ("vector", pa.list_(pa.float32(), width))])


def write_index(folder: Path, chunks: pa.Table, record: IndexRecord) -> None:
    """Write an index into an empty folder; the same chunks give the same bytes."""
    pq.write_table(chunks, folder / CHUNKS, compression="zstd", use_dictionary=False, write_statistics=False)
    (folder / RECORD).write_text(record.model_dump_json(indent=1) + "\n")


def read_record(folder: Path) -> IndexRecord:
    """Return what an index is.

    Raises:
        IndexDamageError: there is none, or its record is damaged.
    """
    try:
        return IndexRecord.model_validate_json((folder / RECORD).read_text())
    except FileNotFoundError:
        raise IndexDamageError(f"{folder} holds no index (no {RECORD}); make it with: dvc repro index.") from None
    except ValidationError as error:
        raise IndexDamageError(
            f"{folder / RECORD} is damaged ({error.error_count()} faults); dvc repro index."
        ) from None


def read_chunks(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of an index, in the order of its documents.

    Raises:
        IndexDamageError: the file is missing or damaged.
    """
    try:
        return list(pq.read_table(folder / CHUNKS).to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise IndexDamageError(f"{folder / CHUNKS} cannot be read ({error}); make it with: dvc repro index.") from None


def index_hash(folder: Path) -> str:
    """Return the version of an index: the SHA-256, in hex, of its files.

    Raises:
        IndexDamageError: there is none.
    """
    read_record(folder)
    return folder_hash(folder)


def refuse_other_index(folder: Path, expected: str) -> None:
    """Raise `IndexDamageError` unless the folder's index is the expected one."""
    if (found := index_hash(folder)) != expected:
        raise IndexDamageError(
            f"the index in {folder} has hash {found[:12]}, but {expected[:12]} was released; run: dvc repro index."
        )
