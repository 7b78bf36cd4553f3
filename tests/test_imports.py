"""Imports go one way, and importing a DAG is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "thumbwheel": {"thumbwheel"},
    "eval": {"eval", "thumbwheel"},
    "serving": {"serving", "thumbwheel"},
    "stages": {"stages", "eval", "thumbwheel"},
    "dags": {"dags", "stages", "eval", "thumbwheel"},
}
HEAVY = ("torch", "transformers", "dvc", "mlflow", "deltalake", "vllm", "bentoml")
MODULES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def imported_packages(path: Path) -> Iterator[str]:
    """Yield the first name of every module that a file imports, at whatever depth of its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0] if node.level == 0 else path.parent.name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    ours = {name for name in imported_packages(path) if name in MAY_IMPORT}
    assert ours <= MAY_IMPORT[package]


def test_an_import_against_the_arrow_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from serving.chat import Chat\n")
    assert "serving" in set(imported_packages(module))


def is_there(module: str, name: str) -> bool:
    """Tell whether a module has a name, or a package a module of it."""
    found = import_module(module)
    return hasattr(found, name) or (hasattr(found, "__path__") and find_spec(f"{module}.{name}") is not None)


def test_what_the_benchmarks_import_of_ours_is_there() -> None:
    ours = {*MAY_IMPORT, "benchmarks"}
    missing = [
        f"{path.name}: {node.module}.{alias.name}"
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in ours
        for alias in node.names
        if not is_there(node.module, alias.name)
    ]
    assert missing == []


def test_importing_the_dags_loads_nothing_heavy(tmp_path: Path) -> None:
    dags = sorted(path.stem for path in (ROOT / "dags").glob("[!_]*.py"))
    assert {"alignment", "feedback", "index", "watch"} <= set(dags)
    modules = ", ".join(f"dags.{dag}" for dag in dags)
    code = f"import sys, {modules}; print([name for name in {HEAVY!r} if name in sys.modules])"
    environment = {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
