"""Compiled kernels stay while their sources do, and go with them."""

from __future__ import annotations

import os
from pathlib import Path

import numba
import pytest
from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

from stages.vectors.cache import clear_stale, place_of


@pytest.fixture(params=["beside", "told", "home"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where numba keeps kernels: beside their package, where it is told to, or where packages are not to be written."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    if request.param == "told":
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "told"))
    if request.param == "home":
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    return str(request.param)


@pytest.fixture
def kernels(tmp_path: Path, place: str) -> tuple[Path, Path, Path]:
    """A package with a compiled kernel that was made of its sources, what kernels share, and the compiled one."""
    package, shared = tmp_path / "package", tmp_path / "shared"
    for folder in (package, shared):
        folder.mkdir()
        (folder / "kernel.py").write_text("one = 1\n")
    clear_stale(package, shared)
    compiled = place_of(package) / "kernel.one-1.py311.nbi"
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


def test_kernels_are_kept_where_numba_says(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", os.environ.get("NUMBA_CACHE_DIR", ""))
    source = tmp_path / "package" / "kernel.py"
    source.parent.mkdir()
    kind = {"beside": InTreeCacheLocator, "told": UserProvidedCacheLocator, "home": UserWideCacheLocator}[place]

    assert kind(place_of, str(source)).get_cache_path() == str(place_of(source.parent))


def test_where_nothing_may_be_written_nothing_happens(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__pycache__").write_text("no folder")
    clear_stale(package, package)
    assert (package / "__pycache__").read_text() == "no folder"
