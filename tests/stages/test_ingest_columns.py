"""Sources whose columns have other names, through the stage: every container, and columns that are not there."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from stages.ingest import main
from tests.stages.test_ingest import SOURCE, observe, rows, write_rows
from thumbwheel.errors import SourceError
from thumbwheel.records import user_hash

ROWS = [{"Question": f"Who is {n}?", "Best Answer": f"It is {n}.", "by": f"user {n}"} for n in range(3)]
NAMED = {**SOURCE, "columns": {"prompt": "Question", "completion": "Best Answer", "user": "by"}}


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)


WRITTEN: dict[str, Any] = {
    "rows.jsonl": lambda path: write_rows(path.parent, *ROWS, name=path.name),
    "rows.json": lambda path: path.write_text(json.dumps(ROWS)),
    "rows.jsonl.gz": lambda path: path.write_bytes(gzip.compress("\n".join(map(json.dumps, ROWS)).encode())),
    "rows.csv": write_csv,
    "rows.parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
    "delta://table": lambda path: write_deltalake("table", pa.Table.from_pylist(ROWS)),
}


@pytest.mark.parametrize("uri", WRITTEN)
def test_every_container_is_read_by_the_names_of_its_columns(workspace: Path, uri: str) -> None:
    WRITTEN[uri](workspace / uri)
    observe(workspace, {**NAMED, "uri": uri})

    main()

    said = [([m["content"] for m in chat["messages"]], chat["user"]) for chat in rows("conversations")]
    assert said == [([row["Question"], row["Best Answer"]], user_hash(row["by"], b"salt")) for row in ROWS]


def test_a_column_that_no_row_of_a_source_has_stops_the_stage_and_says_what_there_is(workspace: Path) -> None:
    write_rows(workspace, *ROWS)
    observe(workspace, {**NAMED, "columns": {**NAMED["columns"], "lang": "tongue"}})

    with pytest.raises(
        SourceError, match="'s' has no column 'tongue' in any row; its first has: Question, Best Answer, by"
    ):
        main()


def test_a_file_that_lacks_a_column_which_others_have_is_warned_of(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_rows(workspace, *ROWS, name="1.jsonl")
    write_rows(workspace, {"Question": "Who?", "Best Answer": "You."}, name="2.jsonl")
    write_rows(workspace, name="3.jsonl")
    observe(workspace, {**NAMED, "uri": "*.jsonl"})

    main()

    assert [r.getMessage() for r in caplog.records if "column" in r.getMessage()] == [
        "s: no row of 2.jsonl has the column 'by'"
    ]
    assert len(rows("conversations")) == 4


@pytest.mark.parametrize("lines", [[], ["no JSON"]])
def test_a_source_without_a_record_lacks_no_column(workspace: Path, lines: list[str]) -> None:
    write_rows(workspace, *lines)
    observe(workspace, NAMED)

    main()

    assert len(rows("quarantine")) == len(lines)


def test_another_mapping_reads_the_file_again(workspace: Path) -> None:
    write_rows(workspace, *ROWS)
    for asked, answered in (("Question", "Best Answer"), ("Best Answer", "Question")):
        observe(workspace, {**SOURCE, "columns": {"prompt": asked, "completion": answered}})
        main()
        assert [chat["messages"][0]["content"] for chat in rows("conversations")] == [row[asked] for row in ROWS]
