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


@pytest.mark.parametrize(
    ("instead", "of", "message"),
    [
        ("wait_seconds: 241", "wait_seconds: 15", "more than answer_seconds"),
        ("answer_seconds: 300", "answer_seconds: 240", "'admission.answer_seconds' = 300"),
        ("chunks: 21", "chunks: 3", "more than candidates"),
        ("first_characters: 401", "first_characters: 32", "more than sentence_characters"),
        ("regions: [UK, ", "regions: [US, ", "numbers of 'UK' are not known"),
        ("hosts: ['https://brindlewick.example']", "hosts: [brindlewick.example]", "guard.stream.hosts.0"),
        ("hosts: ['*.brindlewick.example']", "hosts: [brindlewick.example]", "guard.stream.hosts.0"),
        ("hosts: [Brindlewick.example]", "hosts: [brindlewick.example]", "guard.stream.hosts.0"),
        ('forbidden: ["\\u200b\\u200b\\u200b", ', "forbidden: [", "nothing of it can be seen"),
        ("\xe9: 1", "review:", "is not valid YAML in UTF-8"),
    ],
)
def test_what_contradicts_itself_or_could_never_work_is_refused(
    tmp_path: Path, instead: str, of: str, message: str
) -> None:
    text = SHIPPED.read_text()
    assert text.count(of) == 1
    (tmp_path / "a.yaml").write_bytes(text.replace(of, instead).encode("latin-1"))
    with pytest.raises(ParamsError, match=message):
        load_options(tmp_path / "a.yaml")


def test_a_moderation_endpoint_is_an_address(tmp_path: Path) -> None:
    endpoint = {"url": "guard:8000", "model": "m", "input": True, "output": "whole", "seconds": 1}
    away = {"when_away": "open", "rest_seconds": 1}
    with pytest.raises(ParamsError, match=r"'guard\.endpoint\.url' = 'guard:8000'"):
        load_options(changed(tmp_path / "a.yaml", "guard", endpoint=endpoint | away))
