"""The stage `index`: what it reads, what it puts aside, and that the same documents give the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages import index
from stages.index import ChunkParams, IndexParams, SourceParams, list_documents, read_sources
from stages.observe import observed_documents
from thumbwheel.errors import IndexDamageError, SourceError
from thumbwheel.knowledge import index_hash, read_chunks, read_record, refuse_other_index
from thumbwheel.lake import read_pin, read_pinned
from thumbwheel.params import load_params
from thumbwheel.settings import REPOSITORY, settings

PARAMS = IndexParams(
    sources=[
        SourceParams(uri="help/*", tenant="public", link="https://help.example/{name}"),
        SourceParams(uri="acme/**/*", tenant="acme", link=None),
    ],
    chunk=ChunkParams(tokens=16, overlap=0),
    max_bytes=1000,
    dtype="float32",
    quantization="none",
)


@pytest.fixture
def place(workspace: Path) -> Path:
    """A root with two tenants' documents, one of which is no document."""
    for name, text in {
        "help/frost.md": "---\ntitle: Frost\n---\nBring the Valve in.",
        "help/lights.txt": "Red is a fault.",
        "help/picture.jpg": "no text",
        "acme/deep/refunds.md": "# Refunds\n\nWithin 14 days.",
        "acme/empty.md": " ",
    }.items():
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text(text)
    (workspace / "params.yaml").write_text(yaml.safe_dump({"index": PARAMS.model_dump()}))
    return workspace


def words(text: str) -> int:
    return len(text.split())


def test_every_source_gives_its_tenants_chunks_with_their_links(place: Path) -> None:
    found = [(c.tenant, c.title, c.text, c.link) for c in read_sources(PARAMS, words).chunks]
    assert found == [
        ("public", "Frost", "Bring the Valve in.", "https://help.example/frost"),
        ("public", "lights", "Red is a fault.", "https://help.example/lights"),
        ("acme", "refunds > Refunds", "Within 14 days.", None),
    ]


def test_what_cannot_be_read_is_put_aside_with_its_reason(place: Path) -> None:
    faults = read_sources(PARAMS, words).faults
    assert [(f["source"], f["reason"]) for f in faults] == [
        ("help/picture.jpg", "unknown_format"),
        ("acme/empty.md", "no_text"),
    ]


def test_of_a_folder_come_the_documents_and_a_source_without_any_is_refused(place: Path) -> None:
    folder = SourceParams(uri="help", tenant="public", link=None)
    assert [file["uri"] for file in list_documents(folder)] == ["help/frost.md", "help/lights.txt"]
    with pytest.raises(SourceError, match="matches no file"):
        list_documents(SourceParams(uri="none/*", tenant="public", link=None))


def test_a_tenants_name_must_need_no_quoting() -> None:
    with pytest.raises(ValueError, match="pattern"):
        SourceParams(uri="x", tenant='a" or "', link=None)


def test_observing_lists_the_documents_by_their_content(place: Path) -> None:
    before = observed_documents()
    assert [len(source["files"]) for source in before["sources"]] == [3, 2]
    (place / "help" / "frost.md").write_text("Another text.")
    assert observed_documents() != before


def test_the_same_documents_give_the_same_bytes_and_another_gives_another_hash(place: Path) -> None:
    index.main()
    first, content = read_pin("index"), (settings().index / "chunks.parquet").read_bytes()
    shutil.rmtree(settings().index)
    (settings().state_dir / "vectors.db").unlink()

    index.main()

    assert read_pin("index") == first
    assert (settings().index / "chunks.parquet").read_bytes() == content
    assert first.rejections == {"no_text": 1, "unknown_format": 1}
    assert read_pinned("index", "quarantine").num_rows == 2
    (place / "help" / "frost.md").write_text("Another text.")
    index.main()
    assert read_pin("index").facts["index"] != first.facts["index"]


def test_the_index_holds_unit_vectors_and_says_what_it_is(place: Path) -> None:
    index.main()
    rows, record = read_chunks(settings().index), read_record(settings().index)
    assert (record.documents, record.chunks, record.tenants, record.width) == (3, 3, ("acme", "public"), 384)
    assert np.allclose(np.linalg.norm([row["vector"] for row in rows], axis=1), 1, atol=1e-3)
    assert [row["source"] for row in rows] == ["help/frost.md", "help/lights.txt", "acme/deep/refunds.md"]


def test_an_index_that_is_missing_damaged_or_another_is_refused(place: Path) -> None:
    with pytest.raises(IndexDamageError, match="dvc repro index"):
        index_hash(place / "none")
    index.main()
    refuse_other_index(settings().index, read_pin("index").facts["index"])
    (settings().index / "chunks.parquet").write_bytes(b"other")
    with pytest.raises(IndexDamageError, match="was released"):
        refuse_other_index(settings().index, read_pin("index").facts["index"])
    with pytest.raises(IndexDamageError, match="cannot be read"):
        read_chunks(settings().index)
    (settings().index / "index.json").write_text("{}")
    with pytest.raises(IndexDamageError, match="damaged"):
        read_record(settings().index)


def test_the_seeds_knowledge_is_read_without_a_fault(workspace: Path) -> None:
    (workspace / "data").mkdir()
    (workspace / "data" / "seed").symlink_to(REPOSITORY / "data" / "seed")
    params = load_params("index", IndexParams, REPOSITORY / "params.yaml")
    reading = read_sources(params, index.token_counter())
    assert (reading.documents, reading.faults) == (34, [])
    assert {chunk.tenant for chunk in reading.chunks} == {"public"}
