"""Sources of `ingest`: what one may be, what it holds today, and its records.

| uri | what |
|---|---|
| `data/chats/*.jsonl` | a file, folder or glob relative to the root |
| `s3://bucket/key` | the same on S3, with a glob or a prefix |
| `hf://owner/name@revision/data/*.parquet` | a data set of the hub; without files all of it, test splits too |
| `delta://path`, `delta+s3://bucket/prefix` | a Delta table, with `@version` or the newest |
| `feedback://` | the liked conversations of the lake's feedback table |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from stages.reading import deltas, files, hub
from stages.reading.containers import Record
from stages.reading.naming import Naming, checked
from thumbwheel.errors import SourceError
from thumbwheel.params import Params
from thumbwheel.settings import settings

MENDED = "data/mended"
"""Rows of a source that a person mended (`stages.quarantine`), one JSONL file a source, read behind the source."""

File = Mapping[str, Any]
"""`uri` of a file or table, and the mark of its content."""


class Source(Params):
    """One place that rows come from, and what is true of all of them unless a row says otherwise."""

    name: str = Field(pattern=r"^[^./:\x00-\x1f][^/:\x00-\x1f]*$")
    """Fit for a file, for one in `MENDED` bears it, and without the `:` that parts it from a file in quarantine."""
    uri: str
    """See above."""
    format: Literal["auto", "messages", "sharegpt", "alpaca", "prompt_completion", "oasst", "preference"]
    kind: Literal["conversation", "preference", "both"]
    """What to take from it; an OASST tree holds both."""
    licence: str
    lang: str
    objective: Literal["helpful", "safe"]
    consent: bool
    columns: Annotated[dict[str, str], AfterValidator(checked)] = Field(default_factory=dict)
    """Columns that have other names than ours, by ours; a source that leaves it out has none."""

    @property
    def naming(self) -> Naming:
        """How its columns are read."""
        return Naming(tuple(self.columns.items()))


def list_files(source: Source) -> list[File]:
    """Return what a source holds and the marks of its content: what `observe` writes down and `ingest` reads.

    Raises:
        SourceError: nothing is there.
    """
    mended = f"{MENDED}/{source.name}.jsonl"
    more = files.find_files(mended) if (settings().root / mended).exists() else []
    return [*_find(source.uri), *more]


def observed_files(source: Source) -> list[File]:
    """Return what `data/inputs/sources.json` says a source holds, once it is known to be there unchanged.

    Raises:
        SourceError: the list is missing, lacks the source, or a file of it is not as it was.
    """
    path = settings().inputs / "sources.json"
    try:
        listed = {entry["name"]: entry for entry in json.loads(path.read_text())["sources"]}
    except FileNotFoundError:
        raise SourceError(f"{path} is missing; write it with: python -m stages.observe.") from None
    entry = listed.get(source.name)
    if entry is None or entry["uri"] != source.uri or not all(is_unchanged(file) for file in entry["files"]):
        raise SourceError(
            f"source '{source.name}' ({source.uri}) is not as {path.name} has it; "
            "look again with: python -m stages.observe."
        )
    return list(entry["files"])


def is_unchanged(file: File) -> bool:
    """Tell whether a file or table is there with the content that it was listed with.

    What a version names (a commit of the hub, a version of a table) cannot change, and is not looked at again.
    """
    uri = str(file["uri"])
    if hub.is_hub(uri) or deltas.is_table(uri):
        return True
    try:
        return files.find_files(uri) == [dict(file)]
    except SourceError:
        return False


def read(file: File) -> Iterator[Record]:
    """Yield the records of a file or table.

    Raises:
        SourceError: it is gone, or corrupt as a whole.
    """
    uri = str(file["uri"])
    if deltas.is_table(uri):
        return deltas.read_records(uri)
    if hub.is_hub(uri):
        return files.read_records(str(hub.local_path(uri)))
    return files.read_records(uri)


def _find(uri: str) -> Sequence[File]:
    if hub.is_hub(uri):
        return hub.find_files(uri)
    return deltas.find_tables(uri) if deltas.is_table(uri) else files.find_files(uri)


def mended_path(source: str) -> Path:
    """Return the file of a source's mended rows, whether it is there or not."""
    return settings().root / MENDED / f"{source}.jsonl"
