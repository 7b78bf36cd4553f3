"""Who the candidate is judged against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages import challenge
from thumbwheel.bundle import bundle_hash
from thumbwheel.release import Release, Released, write_release

CHAMPION = Released(version=3, bundle="c" * 64, bento="b:1", bento_model="m:1", path="store/3", approved_by="A")


def test_before_the_first_release_the_base_model_is_champion() -> None:
    assert challenge.opponent(None, "new", "base", None) == {"version": None, "bundle": "base", "path": "models/base"}


def test_a_new_candidate_is_judged_against_what_is_released() -> None:
    written = {"version": None, "bundle": "base", "path": "models/base"}
    chosen = challenge.opponent(CHAMPION, "new", "base", written)
    assert chosen == {"version": 3, "bundle": "c" * 64, "path": "store/3"}


def test_a_candidate_that_is_champion_already_is_not_judged_again() -> None:
    written = {"version": None, "bundle": "base", "path": "models/base"}
    assert challenge.opponent(CHAMPION, CHAMPION.bundle, "base", written) == written


def test_a_champion_without_a_record_of_its_trial_is_its_own_opponent() -> None:
    assert challenge.opponent(CHAMPION, CHAMPION.bundle, "base", None)["version"] == 3


@pytest.fixture
def models(workspace: Path) -> Path:
    for name in ("base", "served"):
        folder = workspace / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(name)
    return workspace / "models"


def test_the_file_stays_untouched_after_the_candidate_was_promoted(models: Path, workspace: Path) -> None:
    challenge.main()
    path = workspace / "data" / "inputs" / "champion.json"
    before = path.stat().st_mtime_ns
    champion = CHAMPION.model_copy(update={"bundle": bundle_hash(models / "served")})
    write_release(Release(**champion.model_dump()))
    challenge.main()
    assert path.stat().st_mtime_ns == before
    assert json.loads(path.read_text())["bundle"] == bundle_hash(models / "base")
