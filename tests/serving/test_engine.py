"""The engine service refuses every bundle but the released one, before anything is started."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import RELEASE
from thumbwheel.bundle import bundle_hash
from thumbwheel.engine import free_port
from thumbwheel.errors import PortInUseError, ReleaseError
from thumbwheel.settings import settings


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"hidden_size": 64}))
    return folder


@pytest.fixture
def engine(workspace: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BENTOML_HOME", str(workspace / "bentoml"))
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")
    from serving import engine

    release = RELEASE.model_copy(update={"bundle": bundle_hash(bundle)})
    monkeypatch.setattr(engine, "load_release", lambda: release)
    monkeypatch.setattr(engine, "bundle_folder", lambda _: bundle)
    monkeypatch.setattr(engine, "PORT_SECONDS", 0)
    monkeypatch.setattr(engine, "engine_environment", dict)
    monkeypatch.setenv("THUMBWHEEL_ENGINE_PORT", str(free_port()))
    settings.cache_clear()
    return engine


def test_the_released_bundle_is_served_under_the_releases_name_by_a_kept_process(engine: Any, bundle: Path) -> None:
    command = engine.Engine.inner().__command__()
    assert command[:3] == [sys.executable, "-m", "serving.keeper"]
    assert command[command.index("--model") + 1] == str(bundle)
    assert command[command.index("--served-model-name") + 1] == "thumbwheel-chat/3"
    assert command[command.index("--max-model-len") + 1] == "2048"


def test_any_other_bundle_is_refused(engine: Any, bundle: Path) -> None:
    (bundle / "config.json").write_text("{}")
    with pytest.raises(ReleaseError, match="only the judged bundle may be served"):
        engine.Engine.inner().__command__()


def test_a_stranger_on_the_engines_port_is_named(engine: Any) -> None:
    with socket.create_server(("127.0.0.1", settings().engine_port)), pytest.raises(PortInUseError):
        engine.Engine.inner().__command__()


def test_the_options_of_the_engine_stand_in_its_command_before_those_of_the_environment(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBWHEEL_ENGINE_ARGUMENTS", "--no-enable-prefix-caching")
    settings.cache_clear()
    command = engine.Engine.inner().__command__()
    assert command.index("--enable-prefix-caching") < command.index("--no-enable-prefix-caching")
