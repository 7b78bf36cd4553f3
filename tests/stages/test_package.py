"""Packaging: the record, what the Bento carries, and the real build."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.release import load_release
from stages.package import CODE, PackageParams, pinned_requirements, release_record, stage_sources
from tests.indexes import tiny_index
from thumbwheel.bundle import bundle_hash
from thumbwheel.knowledge import index_hash
from thumbwheel.lake import Pin, read_pin, write_pin
from thumbwheel.params import load_params
from thumbwheel.settings import REPOSITORY, settings

PARAMS = load_params("package", PackageParams, REPOSITORY / "params.yaml")
BUNDLE = "a" * 64
INDEX = "b" * 64


def staged(folder: Path, **changes: Any) -> str:
    return stage_sources(REPOSITORY, folder, release_record(3, BUNDLE, INDEX, PARAMS) | changes, ["fastapi==1"])


def test_the_service_reads_the_record_that_the_stage_writes(tmp_path: Path) -> None:
    staged(tmp_path)
    release = load_release(tmp_path / "release.json")
    assert (release.version, release.model, release.bundle) == (3, "thumbwheel-chat/3", BUNDLE)
    assert release.bento_model == "thumbwheel_bundle:aaaaaaaaaaaa"
    assert (release.index, release.bento_index) == (INDEX, "thumbwheel_index:bbbbbbbbbbbb")
    assert release.system_prompt == PARAMS.system_prompt


def test_the_same_sources_have_the_same_hash_and_a_changed_record_another(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in "abc")
    assert staged(first) == staged(second)
    assert staged(other, system_prompt="Another.") != staged(tmp_path / "d")


def test_the_bento_carries_every_module_that_its_code_imports(tmp_path: Path) -> None:
    staged(tmp_path)
    for path in tmp_path.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("serving", "thumbwheel")):
                module = tmp_path / str(node.module).replace(".", "/")
                assert module.is_dir() or module.with_suffix(".py").exists(), f"{path.name}: {node.module}"


def test_the_stages_deps_name_all_code_that_the_bento_carries() -> None:
    import yaml

    deps = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]["package"]["deps"]
    assert set(CODE) - {"thumbwheel/__init__.py"} <= set(deps)


def test_the_bento_carries_no_picture_and_no_bytecode(tmp_path: Path) -> None:
    staged(tmp_path)
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes <= {".py", ".yaml", ".html", ".css", ".js", ".svg", ".json", ".npy", ".txt"}


def test_every_requirement_is_pinned() -> None:
    assert all("==" in line for line in pinned_requirements())
    assert any(line.startswith("bentoml==") for line in pinned_requirements())


def run_stage(root: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "THUMBWHEEL_ROOT": str(root), "THUMBWHEEL_STATE": str(root / ".thumbwheel")}
    command = [sys.executable, "-m", "stages.package"]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)


def register(root: Path, bundle: str | None = None, index: str | None = None) -> None:
    shutil.copy(REPOSITORY / "params.yaml", root)
    served = settings().models / "served"
    served.mkdir(parents=True)
    (served / "config.json").write_text("{}")
    (served / "model.safetensors").write_bytes(b"weights")
    write_pin(Pin(stage="register", facts={"version": 3, "bundle": bundle or bundle_hash(served)}))
    write_pin(Pin(stage="index", facts={"index": index or tiny_index(settings().index)}))


@pytest.mark.slow
def test_a_bundle_other_than_the_registered_one_is_refused(workspace: Path) -> None:
    register(workspace, bundle=BUNDLE)
    done = run_stage(workspace)
    assert done.returncode == 2
    assert "only the judged bundle may be served" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (settings().pins / "package.json").exists()


@pytest.mark.slow
def test_an_index_other_than_the_pinned_one_is_refused(workspace: Path) -> None:
    tiny_index(settings().index)
    register(workspace, index=INDEX)
    done = run_stage(workspace)
    assert done.returncode == 2
    assert "dvc repro index" in done.stderr
    assert not (settings().pins / "package.json").exists()


@pytest.mark.slow
def test_a_rerun_gives_the_same_pin_and_mends_what_a_kill_left(workspace: Path) -> None:
    register(workspace)
    assert run_stage(workspace).returncode == 0
    first = read_pin("package")
    stored = workspace / str(first.facts["path"])
    bento = settings().bentoml_home / "bentos" / str(first.facts["bento"]).replace(":", "/")
    assert bundle_hash(stored) == first.facts["bundle"]
    index = settings().bentoml_home / "models" / "thumbwheel_index" / str(first.facts["index"])[:12] / "index"
    assert index_hash(index) == first.facts["index"]
    assert json.loads((bento / "src" / "release.json").read_text())["version"] == 3
    assert "vllm" in (bento / "env" / "python" / "requirements.txt").read_text()
    (stored / "model.safetensors").write_bytes(b"damaged")
    (bento / "bento.yaml").unlink()
    again = run_stage(workspace)
    assert again.returncode == 0, again.stderr
    assert read_pin("package") == first
    assert bundle_hash(stored) == first.facts["bundle"]
    assert (bento / "bento.yaml").exists()
