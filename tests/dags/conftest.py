"""A toy wheel with an Airflow of its own, made once a session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toy"
REPOSITORY = TOY.parent.parent.parent
Turn = Callable[..., subprocess.Popen[str]]


def environment(root: Path) -> dict[str, str]:
    """Return the environment of a command in the toy wheel."""
    venv = Path(sys.executable).parent
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "THUMBWHEEL", "MLFLOW"))}
    path = f"{venv}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(REPOSITORY), "THUMBWHEEL_ROOT": str(root)}


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a wheel whose Airflow has its database; to be copied."""
    root = tmp_path_factory.mktemp("migrated")
    code = "from thumbwheel import scheduler; scheduler.prepare()"
    subprocess.run([sys.executable, "-c", code], env=environment(root), check=True)
    return root / ".thumbwheel"


@pytest.fixture
def toy(tmp_path: Path, migrated: Path) -> Path:
    """The root of a toy wheel that was never turned."""
    root = tmp_path / "toy"
    shutil.copytree(TOY, root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(migrated, root / ".thumbwheel")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=root, check=True)
    (root / "source").write_text("first")
    return root


@pytest.fixture
def turn(toy: Path) -> Turn:
    """Start a turn of the toy wheel in a process group of its own."""

    def start(*options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "thumbwheel.turn", *options],
            cwd=toy,
            env=environment(toy),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start
