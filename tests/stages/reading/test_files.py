"""Containers, compressions, damage, and S3."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from stages.reading.files import Fault, container_of, find_files, read_records
from thumbwheel.errors import SourceError
from thumbwheel.settings import settings

ROWS = [{"prompt": f"question {i} – ü", "completion": "answer\nin two lines"} for i in range(3)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def write(path: Path) -> None:
    """Write `ROWS` as the suffixes of `path` say."""
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".jsonl"):
        content = LINES
    elif name.endswith(".json"):
        content = json.dumps(ROWS).encode()
    elif name.endswith(".csv"):
        plain = path.with_name("plain")
        with plain.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(ROWS[0]))
            writer.writeheader()
            writer.writerows(ROWS)
        content = plain.read_bytes()
        plain.unlink()
    else:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(ROWS), sink)
        content = sink.getvalue().to_pybytes()
    packed = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)(content)
    path.write_bytes(packed)


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize("container", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_container_yields_the_same_records(workspace: Path, container: str, compression: str) -> None:
    name = f"rows{container}{compression}"
    write(workspace / name)
    assert [(r.row, r.value) for r in read_records(name)] == list(enumerate(ROWS))


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.csv.gz", "rows.jsonl.zst"])
def test_text_in_utf_16_is_read_by_its_mark(workspace: Path, name: str, order: str) -> None:
    plain = name.removesuffix(".gz").removesuffix(".zst")
    write(workspace / plain)
    content = ("\ufeff" + (workspace / plain).read_bytes().decode()).encode(order)
    packed = {".gz": gzip.compress, ".zst": zstandard.compress}.get(Path(name).suffix, bytes)(content)
    (workspace / name).write_bytes(packed)
    assert [(r.row, r.value) for r in read_records(name)] == list(enumerate(ROWS))


def test_half_a_character_of_utf_16_is_named_with_its_file(workspace: Path) -> None:
    (workspace / "rows.jsonl").write_bytes(("\ufeff" + LINES.decode()).encode("utf-16-le")[:-1])
    with pytest.raises(SourceError, match=r"rows\.jsonl' is corrupt .*utf-16"):
        list(read_records("rows.jsonl"))


def test_a_zstd_file_of_several_frames_is_read_to_its_end(workspace: Path) -> None:
    (workspace / "rows.jsonl.zst").write_bytes(zstandard.compress(LINES) + zstandard.compress(LINES))
    assert [r.value for r in read_records("rows.jsonl.zst")] == ROWS * 2


def test_a_json_file_with_one_record_a_line_is_read_too(workspace: Path) -> None:
    (workspace / "rows.json").write_bytes(LINES)
    assert [r.value for r in read_records("rows.json")] == ROWS


def test_a_bad_line_is_a_fault_with_its_line_and_loses_no_other(workspace: Path) -> None:
    (workspace / "rows.jsonl").write_bytes(b'{"a": 1}\n\n{"a": \n\xff\xfe\n{"a": 2}\n')
    found = list(read_records("rows.jsonl"))
    assert [r.row for r in found] == [0, 2, 3, 4]
    assert [r.value.reason for r in found if isinstance(r.value, Fault)] == ["json", "encoding"]


def test_bytes_that_are_no_utf8_in_a_csv_are_a_fault(workspace: Path) -> None:
    (workspace / "rows.csv").write_bytes(b"prompt,completion\nfine,fine\nbad,\xff\n")
    assert [isinstance(r.value, Fault) for r in read_records("rows.csv")] == [False, True]


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.zst", "rows.parquet", "rows.json", "rows.parquet.gz"])
def test_a_file_cut_in_half_fails_by_name_and_never_reads_as_shorter(workspace: Path, name: str) -> None:
    write(workspace / name)
    content = (workspace / name).read_bytes()
    (workspace / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match=f"'{name}' is corrupt"):
        list(read_records(name))


def test_a_missing_file_is_named(workspace: Path) -> None:
    with pytest.raises(SourceError, match=r"file 'gone\.jsonl' is missing"):
        list(read_records("gone.jsonl"))


def test_an_unknown_container_is_named_with_the_known_ones(workspace: Path) -> None:
    with pytest.raises(SourceError, match=r"'rows.xlsx'.*\.jsonl .*\.parquet"):
        container_of("rows.xlsx")


def test_a_glob_lists_files_in_order_with_their_marks(workspace: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        write(workspace / name)
    found = find_files("*.jsonl")
    assert [f["uri"] for f in found] == ["a.jsonl", "b.jsonl"]
    assert {len(f["sha256"]) for f in found} == {64}
    assert [f["size"] for f in found] == [len(LINES)] * 2


def test_a_folder_lists_only_what_can_be_read(workspace: Path) -> None:
    (workspace / "folder").mkdir()
    write(workspace / "folder" / "a.jsonl")
    (workspace / "folder" / "SOURCE.txt").write_text("where it is from")
    assert [f["uri"] for f in find_files("folder")] == ["folder/a.jsonl"]


def test_marks_of_a_pattern_in_the_names_of_files_and_folders_are_no_pattern(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = workspace / "of [one] user"
    (root / "folder").mkdir(parents=True)
    monkeypatch.setenv("THUMBWHEEL_ROOT", str(root))
    settings.cache_clear()
    write(root / "folder" / "a [1]*.jsonl")
    for uri in ("folder", "folder/*", str(root.parent / "of ?one? user" / "folder" / "*")):
        (found,) = find_files(uri)
        assert found["uri"] == "folder/a [1]*.jsonl"
        assert find_files(found["uri"]) == [found]


def test_a_name_that_is_no_text_is_refused_by_name(workspace: Path) -> None:
    write(workspace / os.fsdecode(b"\xff.jsonl"))
    with pytest.raises(SourceError, match=r"file '\\udcff\.jsonl': its name is not UTF-8"):
        find_files("*.jsonl")


def test_a_source_that_matches_nothing_says_how_to_mend_it(workspace: Path) -> None:
    with pytest.raises(SourceError, match=r"source 'no/\*' matches no file; correct its uri in params.yaml"):
        find_files("no/*")


@pytest.fixture
def bucket(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server of moto with the bucket `lake`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="lake")
    yield client
    server.stop()


@pytest.mark.slow
def test_s3_sources_list_and_read_like_local_ones(bucket: Any, workspace: Path) -> None:
    for name in ("a.jsonl.gz", "b.parquet"):
        write(workspace / name)
        bucket.upload_file(str(workspace / name), "lake", f"chats/{name}")
    bucket.put_object(Bucket="lake", Key="chats/SOURCE.txt", Body=b"where it is from")
    found = find_files("s3://lake/chats/*")
    assert [f["uri"] for f in found] == ["s3://lake/chats/a.jsonl.gz", "s3://lake/chats/b.parquet"]
    assert all(f["etag"] for f in found)
    assert [r.value for f in found for r in read_records(f["uri"])] == ROWS * 2
    assert [f["uri"] for f in find_files("s3://lake/chats")] == [f["uri"] for f in found]
    bucket.upload_file(str(workspace / "b.parquet"), "lake", "chats/more/c [1].parquet")
    (odd,) = find_files("s3://lake/chats/more/*")
    assert find_files(odd["uri"]) == [odd]
    assert [r.value for r in read_records(odd["uri"])] == ROWS


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_one_clear_line(bucket: Any) -> None:
    with pytest.raises(SourceError, match=r"s3://nowhere/a\.jsonl"):
        find_files("s3://nowhere/a.jsonl")
