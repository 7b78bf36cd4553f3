"""Registration: one version for one bundle and decision, with its lineage."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from stages import register
from thumbwheel import tracking
from thumbwheel.bundle import bundle_hash
from thumbwheel.errors import ReleaseError
from thumbwheel.lake import Pin, TablePin, read_pin, write_json, write_pin
from thumbwheel.settings import settings


@pytest.fixture
def candidate(workspace: Path) -> Path:
    """A judged candidate in a git repository, with a pin of its data."""
    served = workspace / "models" / "served"
    served.mkdir(parents=True)
    (served / "config.json").write_text("{}")
    (workspace / "params.yaml").write_text("sft: {}\n")
    (workspace / "dvc.lock").write_text("stages: {quantize: {outs: [{path: models/served, md5: abc.dir}]}}\n")
    table = TablePin(table="split.conversations", version=1, rows=2, fingerprint="f")
    write_pin(Pin(stage="split", tables={"conversations": table}))
    write_json(settings().inputs / "champion.json", {"version": 7, "bundle": "x", "path": "y"})
    judged("pass", served)
    (settings().reports / "dossier.html").write_text("<h1>dossier</h1>")
    (settings().reports / "model_card.md").write_text("# Model card")
    return served


def judged(outcome: str, served: Path) -> None:
    write_json(settings().reports / "gate.json", {"outcome": outcome, "bundle": bundle_hash(served)})


def test_a_version_says_what_it_was_made_from(candidate: Path, workspace: Path) -> None:
    register.main()
    facts = read_pin("register").facts
    version = tracking.client().get_model_version(tracking.MODEL, str(facts["version"]))
    assert facts["bundle"] == bundle_hash(candidate)
    assert version.tags["bundle"] == facts["bundle"]
    assert version.tags["outcome"] == "pass"
    assert version.tags["parent_version"] == "7"
    assert version.tags["git_commit"] == "none"
    assert "abc.dir" in version.tags["weights"]
    assert {"params", "pin.split"} <= set(version.tags)
    files = {file.path for file in tracking.client().list_artifacts(facts["run_id"], register.CARD)}
    assert files == {"candidate/dossier.html", "candidate/gate.json", "candidate/model_card.md"}
    assert version.description == "# Model card"


def test_the_same_bundle_and_decision_keep_their_version_and_pin(candidate: Path) -> None:
    register.main()
    before = (settings().pins / "register.json").read_text()
    register.main()
    assert (settings().pins / "register.json").read_text() == before


@pytest.mark.parametrize("change", ["weights", "decision"])
def test_another_bundle_or_decision_is_a_new_version(candidate: Path, change: str) -> None:
    register.main()
    if change == "weights":
        (candidate / "config.json").write_text('{"other": 1}')
    judged("pass" if change == "weights" else "inconclusive", candidate)
    register.main()
    assert read_pin("register").facts["version"] == 2


def test_a_bundle_that_was_not_judged_is_refused(candidate: Path) -> None:
    (candidate / "config.json").write_text('{"swapped": true}')
    with pytest.raises(ReleaseError, match="only the judged bundle may be served"):
        register.main()
    assert not (settings().pins / "register.json").exists()


def test_the_pin_holds_no_time(candidate: Path) -> None:
    register.main()
    facts = json.loads((settings().pins / "register.json").read_text())["facts"]
    assert set(facts) == {"model", "version", "bundle", "run_id", "experiment", "outcome"}


def test_a_commit_with_changes_on_top_is_marked(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-qm", "first")
    clean = register.git_commit(tmp_path)
    (tmp_path / "file").write_text("2")
    assert register.git_commit(tmp_path) == f"{clean}+"
