"""Promotion and roll-back: what is refused, and what the registry and the release say afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from stages import promote, register, rollback
from thumbwheel import tracking
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.errors import ReleaseError
from thumbwheel.lake import Pin, write_json, write_pin
from thumbwheel.release import Release, read_release
from thumbwheel.settings import settings


def judged(workspace: Path, weights: str, outcome: str = "pass") -> str:
    """Make a candidate that was judged, registered and packaged; return its bundle's hash."""
    for folder in (workspace / "models" / "served", workspace / "store" / weights):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(weights)
    (workspace / "params.yaml").write_text("sft: {}\n")
    bundle = bundle_hash(workspace / "models" / "served")
    write_json(settings().reports / "gate.json", {"outcome": outcome, "bundle": bundle})
    (settings().reports / "dossier.html").write_text("dossier")
    (settings().reports / "model_card.md").write_text("# Model card")
    register.main()
    version = json.loads((settings().pins / "register.json").read_text())["facts"]["version"]
    facts = {"version": version, "bundle": bundle, "bento": f"b:{weights}", "bento_model": f"m:{weights}"}
    write_pin(Pin(stage="package", facts={**facts, "path": f"store/{weights}"}))
    return bundle


def approve(monkeypatch: pytest.MonkeyPatch, by: str = "Ada") -> None:
    monkeypatch.setattr(sys, "argv", ["promote", "--approved-by", by])
    promote.main()


def aliases() -> dict[str, int]:
    return {
        name: int(version) for name, version in tracking.client().get_registered_model(tracking.MODEL).aliases.items()
    }


def released() -> Release:
    release = read_release()
    assert release is not None
    return release


def test_the_approved_candidate_becomes_champion_and_the_old_one_previous(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(workspace, "one")
    approve(monkeypatch)
    assert aliases() == {"champion": 1}
    judged(workspace, "two")
    approve(monkeypatch, by="Bo")
    assert aliases() == {"champion": 2, "previous": 1}
    assert (released().version, released().approved_by, released().path) == (2, "Bo", "store/two")
    assert released().previous is not None
    assert tracking.client().get_model_version(tracking.MODEL, "2").tags["approved_by"] == "Bo"


def test_promoting_the_champion_again_changes_nothing(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(workspace, "one")
    approve(monkeypatch)
    before = (settings().state_dir / "release.json").read_text()
    approve(monkeypatch, by="Bo")
    assert (settings().state_dir / "release.json").read_text() == before


def test_a_promotion_cut_off_before_its_last_step_is_completed_by_the_next(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(workspace, "one")
    approve(monkeypatch)
    judged(workspace, "two")
    with monkeypatch.context() as patch:
        patch.setattr(promote, "write_release", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            approve(monkeypatch)
    assert released().version == 1
    approve(monkeypatch)
    assert aliases() == {"champion": 2, "previous": 1}
    assert released().version == 2


def test_a_candidate_that_the_gate_failed_is_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(workspace, "one", outcome="fail")
    with pytest.raises(ReleaseError, match="the gate failed"):
        approve(monkeypatch)
    assert read_release() is None


def test_a_candidate_that_nobody_approved_is_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(workspace, "one")
    with pytest.raises(ReleaseError, match="nobody approved"):
        approve(monkeypatch, by=" ")


@pytest.mark.parametrize("folder", ["models/served", "store/one"])
def test_weights_other_than_the_judged_are_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    judged(workspace, "one")
    (workspace / folder / "config.json").write_text("tampered")
    with pytest.raises(ReleaseError, match="was judged"):
        approve(monkeypatch)
    assert read_release() is None


def test_a_bento_of_another_bundle_is_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(workspace, "one")
    stale = (settings().pins / "package.json").read_text()
    judged(workspace, "two")
    (settings().pins / "package.json").write_text(stale)
    with pytest.raises(ReleaseError, match="the Bento holds"):
        approve(monkeypatch)


def back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": 0}))
    with pytest.raises(SystemExit) as ended:
        rollback.main()
    assert ended.value.code == 0


def test_a_roll_back_changes_champion_and_previous_over_and_back(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(workspace, "one")
    approve(monkeypatch)
    bad = judged(workspace, "two")
    approve(monkeypatch)
    with monkeypatch.context() as patch:
        back(patch)
    assert aliases() == {"champion": 1, "previous": 2}
    assert (released().version, released().rolled_back) == (1, (bad,))
    with monkeypatch.context() as patch:
        back(patch)
    assert aliases() == {"champion": 2, "previous": 1}
    assert bad not in released().rolled_back


def test_a_first_champion_cannot_be_rolled_back(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(workspace, "one")
    approve(monkeypatch)
    with pytest.raises(SystemExit) as ended:
        run(rollback.main)
    assert ended.value.code == 2
    assert "error: version 1 is the first champion" in capsys.readouterr().err


def test_nothing_released_cannot_be_rolled_back(workspace: Path) -> None:
    with pytest.raises(ReleaseError, match="nothing was released yet"):
        rollback.swap(None)
