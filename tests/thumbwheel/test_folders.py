"""A folder is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from thumbwheel.folders import whole_folder


def write_half(target: Path) -> None:
    with whole_folder(target) as part:
        (part / "new").write_text("half")
        raise RuntimeError


def test_a_block_that_fails_leaves_the_old_folder_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(RuntimeError):
        write_half(target)
    assert [path.name for path in target.iterdir()] == ["old"]


def test_a_new_folder_replaces_all_of_the_old_and_the_leftovers_of_a_kill(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("old")
    (tmp_path / ".model.part").mkdir()
    (tmp_path / ".model.part" / "leftover").write_text("x")
    with whole_folder(target) as part:
        (part / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
