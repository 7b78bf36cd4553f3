"""Compiled kernels stay while their sources do, and go with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.vectors.cache import clear_stale


@pytest.fixture
def kernels(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A package with a compiled kernel that was made of its sources, what kernels share, and the compiled one."""
    package, shared = tmp_path / "package", tmp_path / "shared"
    for folder in (package, shared):
        folder.mkdir()
        (folder / "kernel.py").write_text("one = 1\n")
    clear_stale(package, shared)
    compiled = package / "__pycache__" / "kernel.one-1.py311.nbi"
    compiled.write_bytes(b"compiled")
    return package, shared, compiled


def test_what_was_compiled_from_the_same_sources_stays(kernels: tuple[Path, Path, Path]) -> None:
    package, shared, compiled = kernels
    clear_stale(package, shared)
    assert compiled.exists()


@pytest.mark.parametrize("which", [0, 1])
def test_what_was_compiled_from_other_sources_goes_once(kernels: tuple[Path, Path, Path], which: int) -> None:
    package, shared, compiled = kernels
    (kernels[which] / "kernel.py").write_text("one = 2\n")
    clear_stale(package, shared)
    assert not compiled.exists()
    compiled.write_bytes(b"compiled anew")
    clear_stale(package, shared)
    assert compiled.exists()


def test_where_nothing_may_be_written_nothing_happens(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__pycache__").write_text("no folder")
    clear_stale(package, package)
    assert (package / "__pycache__").read_text() == "no folder"
