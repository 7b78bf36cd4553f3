"""Tracking: stages of one turn meet in one parent run, and a stage that fails says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thumbwheel.params import Params
from thumbwheel.settings import settings
from thumbwheel.tracking import EXPERIMENT, artifact_page, client, flatten, parent_run, stage_run, tracking_uri


class Inner(Params):
    rate: float


class Toy(Params):
    seed: int
    inner: Inner


def runs() -> list[Any]:
    api = client()
    experiment = api.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return list(api.search_runs([experiment.experiment_id]))


def test_the_stages_of_a_turn_are_nested_under_one_parent(workspace: Path) -> None:
    for name in ("ingest", "dedup"):
        with stage_run(name):
            pass

    parent = parent_run().run_id

    nested = {run.data.tags["mlflow.runName"]: run.data.tags.get("mlflow.parentRunId") for run in runs()}
    assert nested == {"turn local": None, "ingest": parent, "dedup": parent}


def test_stages_that_start_at_once_in_a_fresh_store_meet_in_one_parent(workspace: Path) -> None:
    (workspace / ".thumbwheel" / "mlflow.db").unlink()
    code = "import sys; from thumbwheel.tracking import stage_run\nwith stage_run(sys.argv[1]): pass"
    stages = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("fetch", "ingest")]

    assert [stage.wait() for stage in stages] == [0, 0]
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs()} == {None, parent_run().run_id}


def test_another_turn_has_another_parent(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = parent_run().run_id
    monkeypatch.setenv("THUMBWHEEL_TURN", "next")
    settings.cache_clear()

    assert parent_run().run_id != first


def test_a_stage_reports_parameters_metrics_tags_and_files(workspace: Path) -> None:
    (workspace / "facts.txt").write_text("facts")

    with stage_run("toy", Toy(seed=7, inner=Inner(rate=0.5))) as stage:
        stage.metrics({"loss": 0.25})
        stage.tag("colour", "red")
        stage.artifact(workspace / "facts.txt")

    run = client().get_run(stage.run_id)
    assert run.data.params == {"seed": "7", "inner.rate": "0.5"}
    assert run.data.metrics == {"loss": 0.25}
    assert run.data.tags["colour"] == "red"
    assert run.info.status == "FINISHED"
    assert [file.path for file in client().list_artifacts(stage.run_id)] == ["facts.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_stage_that_fails_is_marked_failed_and_the_error_goes_on(workspace: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), stage_run("toy") as stage:
        raise error

    assert client().get_run(stage.run_id).info.status == "FAILED"


def test_a_tracker_that_cannot_be_told_hides_nothing_of_why_a_stage_failed(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise ConnectionError("no tracker")

    monkeypatch.setattr("mlflow.MlflowClient.set_terminated", gone)
    with pytest.raises(KeyError, match="ours"), stage_run("sft"):
        raise KeyError("ours")


@pytest.mark.parametrize(
    ("address", "server"),
    [(None, "http://127.0.0.1:5000"), ("https://ana:secret@tracker.example/", "https://tracker.example")],
)
def test_a_file_of_a_run_is_shown_by_the_tracker_that_people_can_open(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, address: str | None, server: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    page = artifact_page("1", "abc", "candidate/dossier.html")
    assert page == f"{server}/#/experiments/1/runs/abc/artifacts/candidate/dossier.html"


def test_the_trackers_own_variable_wins(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri() == f"sqlite:///{workspace}/.thumbwheel/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")

    assert tracking_uri() == "http://tracker:5000"


def test_nested_mappings_become_dotted_names() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}
