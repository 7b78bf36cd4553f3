from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from serving.entry import make_entry
from serving.options import SHIPPED, load_options
from tests.serving.conftest import options_with
from thumbwheel.errors import ParamsError, SettingsError
from thumbwheel.settings import settings


def changed(path: Path, section: str, **keys: object) -> Path:
    value = yaml.safe_load(SHIPPED.read_text())
    value.setdefault(section, {}).update(keys)
    path.write_text(yaml.safe_dump(value))
    return path


def test_the_environment_names_another_file(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBWHEEL_SERVING", str(changed(workspace / "mine.yaml", "admission", answers=3)))
    settings.cache_clear()
    assert load_options().admission.answers == 3


def test_an_unknown_key_or_section_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"unknown key 'admission.anwers', did you mean 'answers'"):
        load_options(changed(tmp_path / "a.yaml", "admission", anwers=3))
    with pytest.raises(ParamsError, match="unknown section 'admision'"):
        load_options(changed(tmp_path / "b.yaml", "admision", answers=3))


def test_a_tier_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="tier 'gold' is not one of"):
        load_options(changed(tmp_path / "a.yaml", "access", anonymous_tier="gold"))


def test_limits_in_redis_want_a_redis(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THUMBWHEEL_REDIS_URL", raising=False)
    settings.cache_clear()
    with pytest.raises(SettingsError, match="THUMBWHEEL_REDIS_URL"):
        make_entry(options_with(limits={"store": "redis"}), b"key")
