"""Bundles: one hash for one content, and no other bundle passes for the judged one."""

from __future__ import annotations

from pathlib import Path

import pytest

from thumbwheel.bundle import bundle_hash, refuse_other
from thumbwheel.errors import ModelError, ReleaseError


def bundle(folder: Path, **files: str) -> Path:
    for name, text in {"config.json": "{}", "weights.bin": "w", "sub/more.txt": "m", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_same_files_have_the_same_hash_wherever_they_lie(tmp_path: Path) -> None:
    assert bundle_hash(bundle(tmp_path / "a")) == bundle_hash(bundle(tmp_path / "b" / "c"))


@pytest.mark.parametrize("change", [{"weights.bin": "v"}, {"sub/more.txt": "n"}, {"extra": ""}])
def test_any_change_of_a_file_changes_the_hash(tmp_path: Path, change: dict[str, str]) -> None:
    assert bundle_hash(bundle(tmp_path / "a")) != bundle_hash(bundle(tmp_path / "b", **change))


def test_a_renamed_file_changes_the_hash(tmp_path: Path) -> None:
    before = bundle_hash(bundle(tmp_path / "a"))
    (tmp_path / "a" / "weights.bin").rename(tmp_path / "a" / "weight.bin")

    assert bundle_hash(tmp_path / "a") != before


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        bundle_hash(tmp_path)


def test_only_the_judged_bundle_may_be_served(tmp_path: Path) -> None:
    judged = bundle(tmp_path / "a")
    refuse_other(judged, bundle_hash(judged))

    with pytest.raises(ReleaseError, match="only the judged bundle may be served"):
        refuse_other(bundle(tmp_path / "b", **{"weights.bin": "v"}), bundle_hash(judged))
