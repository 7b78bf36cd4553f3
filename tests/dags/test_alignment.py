"""The DAGs as Airflow reads them: their tasks, edges, hints and form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.dags.conftest import REPOSITORY, environment
from thumbwheel.graph import load_graph

READ = """
import json, sys
from copy import deepcopy
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1], bundle_path=None, bundle_name="test", collect_dags=True)
dag = bag.dags["alignment"]

def accepts(conf):
    params = deepcopy(dag.params)
    try:
        params.update(conf)
        params.validate()
    except Exception:
        return False
    return True

def facts(task):
    found = {name: getattr(task, name, "") for name in ("pool", "retries", "cwd", "bash_command")}
    found |= {"up": sorted(task.upstream_task_ids), "rule": str(task.trigger_rule.value)}
    return {**found, "type": type(task).__name__}

print(json.dumps({
    "errors": {path: str(error) for path, error in bag.import_errors.items()},
    "dags": sorted(bag.dags),
    "max_active_runs": dag.max_active_runs,
    "timetable": type(dag.timetable).__name__,
    "assets": [asset.name for asset in bag.dags["feedback"].get_task("announce").outlets],
    "tasks": {task.task_id: facts(task) for task in dag.tasks},
    "watch": {task.task_id: facts(task) for task in bag.dags["watch"].tasks},
    "watched": [asset.name for asset in dag.get_task("deploy").outlets],
    "index": {task.task_id: facts(task) for task in bag.dags["index"].tasks},
    "accepted": [accepts(conf) for conf in json.loads(sys.argv[2])],
}))
"""
GOOD: list[dict[str, Any]] = [
    {},
    {"approve": "yes"},
    {"approve": "ask", "overrides": {"fetch": {"model": "/a/folder"}}},
]
BAD: list[dict[str, Any]] = [
    {"approve": "perhaps"},
    {"approve": None},
    {"overrides": {"fetch": {"model": 3}}},
    {"overrides": {"fetch": {"modle": "x"}}},
    {"overrides": {"fetsh": {}}},
    {"overrides": "fetch"},
]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a DagBag finds in the repository, without a database."""
    home = tmp_path_factory.mktemp("airflow")
    settings = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [sys.executable, "-c", READ, str(REPOSITORY / "dags"), json.dumps([*GOOD, *BAD])]
    done = subprocess.run(command, env=environment(REPOSITORY) | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_all_dags_parse(read: dict[str, Any]) -> None:
    assert read["errors"] == {}
    assert read["dags"] == ["alignment", "feedback", "index", "watch"]


def test_a_deployment_and_every_week_start_the_watch_over_the_served_release(read: dict[str, Any]) -> None:
    assert read["watched"] == ["thumbwheel_release"]
    assert [task["bash_command"] for task in read["watch"].values()] == ["python -m stages.watch"]
    assert read["watch"]["watch"]["cwd"] == str(REPOSITORY)


def test_the_index_is_rebuilt_alone_by_the_stage_of_the_graph(read: dict[str, Any]) -> None:
    tasks = read["index"]
    assert set(tasks) == {"fetch_documents", "index"}
    assert tasks["index"]["up"] == ["fetch_documents"]
    assert tasks["index"]["bash_command"].endswith("dvc --wait-for-lock repro --single-item index")
    assert "stages.observe --documents" in tasks["fetch_documents"]["bash_command"]


def test_every_stage_is_a_task_with_the_edges_of_dvc(read: dict[str, Any]) -> None:
    stages = load_graph(REPOSITORY / "dvc.yaml")
    ours = {"observe", "challenge"}
    for name, stage in stages.items():
        assert set(read["tasks"][name]["up"]) - ours == set(stage.upstream), name


def test_what_reads_the_champion_waits_for_challenge_and_roots_wait_for_observe(read: dict[str, Any]) -> None:
    tasks, stages = read["tasks"], load_graph(REPOSITORY / "dvc.yaml")
    readers = {name for name, stage in stages.items() if "data/inputs/champion.json" in stage.deps}
    assert {name for name, task in tasks.items() if "challenge" in task["up"]} == readers
    assert tasks["challenge"]["up"] == ["quantize"]
    assert {name for name, task in tasks.items() if "observe" in task["up"]} == {
        name for name, stage in stages.items() if not stage.upstream
    }


def test_a_release_needs_the_last_stages_and_an_approval(read: dict[str, Any]) -> None:
    tasks, stages = read["tasks"], load_graph(REPOSITORY / "dvc.yaml")
    followed = {upstream for stage in stages.values() for upstream in stage.upstream}
    assert tasks["decide"]["up"] == sorted(set(stages) - followed)
    assert "package" in tasks["decide"]["up"]
    assert tasks["approve"]["type"] == "ApprovalOperator"
    assert tasks["canary"]["up"] == ["approve", "approve_by_option"]
    assert tasks["canary"]["rule"] == "none_failed_min_one_success"
    assert tasks["promote"]["up"] == ["canary"]
    assert tasks["promote"]["rule"] == "all_success"
    assert tasks["deploy"]["up"] == ["decide", "promote"]


def test_a_stage_asks_dvc_first_and_waits_for_its_lock(read: dict[str, Any]) -> None:
    task = read["tasks"]["sft"]
    assert "dvc --wait-for-lock status -q sft && " in task["bash_command"]
    assert "dvc --wait-for-lock repro --single-item sft" in task["bash_command"]
    assert task["rule"] == "none_failed"
    assert Path(task["cwd"]) == REPOSITORY


def test_hints_come_from_dvc_yaml(read: dict[str, Any]) -> None:
    for name, stage in load_graph(REPOSITORY / "dvc.yaml").items():
        assert read["tasks"][name]["pool"] == stage.meta.get("pool", "default_pool")
        assert read["tasks"][name]["retries"] == stage.meta.get("retries", 0)


def test_one_run_at_a_time_weekly_or_by_feedback(read: dict[str, Any]) -> None:
    assert read["max_active_runs"] == 1
    assert read["timetable"] == "AssetOrTimeSchedule"
    assert read["assets"] == ["thumbwheel_feedback"]


def test_the_form_takes_what_fits_and_refuses_the_rest(read: dict[str, Any]) -> None:
    assert read["accepted"] == [True] * len(GOOD) + [False] * len(BAD)
