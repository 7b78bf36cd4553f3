from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from benchmarks import public_data as module
from benchmarks.public_data import AbsentDataError, public_data


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THUMBWHEEL_PUBLIC_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(module, "UNPACKED", tmp_path / "unpacked")
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "home" / "pii" / "names").mkdir(parents=True)
    return tmp_path / "home"


def test_a_folder_is_read_where_it_is(home: Path) -> None:
    assert public_data("pii/names") == home / "pii" / "names"


def test_an_archive_is_unpacked_once(home: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("a b")
    with tarfile.open(home / "dedup.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "pairs.txt", "dedup/docs/pairs.txt")

    first = public_data("dedup/docs")
    (home / "dedup.tar.xz").unlink()

    assert (first / "pairs.txt").read_text() == "a b"
    assert public_data("dedup/docs") == first
    assert list((tmp_path / "unpacked").iterdir()) == [first.parent]


def test_absent_data_says_where_it_was_looked_for(home: Path) -> None:
    with pytest.raises(AbsentDataError, match=f"'rag/none' is not in {home}"):
        public_data("rag/none")
