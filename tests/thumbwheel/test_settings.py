"""Settings: places come from the environment, and a value that cannot be used is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from thumbwheel.errors import SettingsError
from thumbwheel.settings import settings


def test_everything_lies_under_the_root_unless_set(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THUMBWHEEL_STATE")
    settings.cache_clear()
    found = settings()

    places = [found.state_dir, Path(found.lake), found.outbox_path, found.bentoml_home, found.pins, found.models]

    assert all(workspace in place.parents for place in places)


def test_a_place_that_is_set_is_used(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBWHEEL_OUTBOX", "/elsewhere/outbox.db")
    settings.cache_clear()

    assert settings().outbox_path == Path("/elsewhere/outbox.db")


@pytest.mark.parametrize(
    ("name", "value"),
    [("CHAT_PORT", "99999"), ("CHAT_PORT", "web"), ("ACCELERATOR", "abacus"), ("ENGINE_START_SECONDS", "0")],
)
def test_a_value_that_cannot_be_used_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"THUMBWHEEL_{name}", value)
    settings.cache_clear()

    with pytest.raises(SettingsError, match=f"THUMBWHEEL_{name} = '{value}'"):
        settings()


def test_the_environment_is_read_once(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    monkeypatch.setenv("THUMBWHEEL_CHAT_PORT", "3999")

    assert settings() is before
