"""What a turn relies on: the survey, the lock, the marks on processes, the database's words, the next step."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.waiting import PATIENCE, eventually
from thumbwheel import processes, scheduler, survey, turn
from thumbwheel.engine import _die_with_parent
from thumbwheel.errors import TurnError
from thumbwheel.graph import load_graph
from thumbwheel.lake import Pin, write_json
from thumbwheel.release import Release, Released, gate_markdown, gate_table, next_step, read_release, write_release
from thumbwheel.settings import settings

STAGES = """\
stages:
  fetch: {cmd: a, deps: [code.py], outs: [base]}
  ingest: {cmd: b, deps: [inputs.json], outs: [rows]}
  sft: {cmd: c, deps: [base, rows], outs: [adapter]}
  answer: {cmd: d, deps: [adapter, champion.json], outs: [answers]}
"""


@pytest.fixture
def surveyed(workspace: Path) -> Path:
    """A root whose survey, for turn `t`, found only `fetch` changed."""
    (workspace / "dvc.yaml").write_text(STAGES)
    for name in ("params.yaml", "code.py", "inputs.json", "champion.json"):
        (workspace / name).write_text("{}")
    stages = load_graph(workspace / "dvc.yaml")
    marks = {name: survey.mark(stages, name, workspace) for name in stages}
    write_json(survey.survey_path(), {"turn": "t", "changed": ["fetch"], "marks": marks})
    return workspace


def test_a_stage_is_skipped_where_it_and_all_before_it_are_unchanged(surveyed: Path) -> None:
    found = {name: survey.is_unchanged(name, "t", surveyed) for name in ("fetch", "ingest", "sft", "answer")}
    assert found == {"fetch": False, "ingest": True, "sft": False, "answer": False}


def test_the_survey_of_another_turn_proves_nothing(surveyed: Path) -> None:
    assert not survey.is_unchanged("ingest", "u", surveyed)


@pytest.mark.parametrize("touched", ["inputs.json", "params.yaml", "dvc.yaml"])
def test_an_input_touched_since_the_survey_sends_the_stage_to_dvc(surveyed: Path, touched: str) -> None:
    os.utime(surveyed / touched, ns=(1, 1))
    assert not survey.is_unchanged("ingest", "t", surveyed)


def test_an_input_of_another_stage_does_not(surveyed: Path) -> None:
    (surveyed / "champion.json").write_text("changed")
    assert survey.is_unchanged("ingest", "t", surveyed)


def test_a_damaged_survey_proves_nothing(surveyed: Path) -> None:
    survey.survey_path().write_text("{")
    assert not survey.is_unchanged("ingest", "t", surveyed)


def test_a_second_turn_is_refused_by_name_and_the_lock_is_free_after_it(tmp_path: Path) -> None:
    path = tmp_path / "turn.lock"
    with (
        processes.only_one(path, "a turn"),
        pytest.raises(TurnError, match=rf"a turn is already running \(process {os.getpid()}\)"),
        processes.only_one(path, "a turn"),
    ):
        pass
    with processes.only_one(path, "a turn"):
        pass


def sleeper(**environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], env={**os.environ, **environment}, start_new_session=True)


def test_only_processes_with_this_roots_mark_are_found_and_stopped(workspace: Path) -> None:
    ours, stack = sleeper(**processes.lease("turn")), sleeper(**processes.lease("stack"))
    other = sleeper(**{processes.MARK: "/elsewhere|turn"})
    try:
        assert [process.pid for process in processes.leased("turn")] == [ours.pid]
        assert processes.stop(processes.leased("turn")) == 1
        assert [process.poll() is None for process in (ours, stack, other)] == [False, True, True]
    finally:
        for process in (ours, stack, other):
            process.kill()
            process.wait()


def test_a_process_that_ignores_term_is_killed(workspace: Path) -> None:
    stubborn = subprocess.Popen(["bash", "-c", "trap '' TERM; echo on; while true; do sleep 1; done"], stdout=-1)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    processes.stop(processes.tree(stubborn.pid), patience=1)
    assert stubborn.poll() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_an_engine_dies_with_its_parent_however_that_ends() -> None:
    code = (
        "import subprocess, time; from thumbwheel.engine import _die_with_parent as d; "
        "print(subprocess.Popen(['sleep', '60'], preexec_fn=d, start_new_session=True).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    engine = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    engine.wait(PATIENCE)
    assert callable(_die_with_parent)


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ('{"write": {"a": {"pid": 4194399, "cmd": "dvc repro"}}, "read": {}}', False),
        ('{"write": {"a": ', False),
        ('{"write": {}, "read": {}}', False),
    ],
)
def test_a_lock_of_dvc_without_a_living_holder_is_removed(tmp_path: Path, content: str, kept: bool) -> None:
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    processes.clear_dvc_locks(tmp_path)
    assert path.exists() == kept


def test_the_lock_of_a_build_that_was_killed_is_removed(workspace: Path) -> None:
    lock = processes.extensions_dir() / "py311_cpu" / "some_op" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    built = lock.with_name("some_op.so")
    built.touch()

    processes.clear_build_locks()

    assert not lock.exists()
    assert built.exists()


def test_a_lock_of_a_living_dvc_stays(tmp_path: Path) -> None:
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    holder = subprocess.Popen(["bash", "-c", "exec -a dvc sleep 60"])
    try:
        assert eventually(lambda: psutil.Process(holder.pid).cmdline()[:1] == ["dvc"])
        path.write_text(json.dumps({"read": {"a": [{"pid": holder.pid, "cmd": "dvc repro"}]}}))
        processes.clear_dvc_locks(tmp_path)
        assert path.exists()
    finally:
        holder.kill()
        holder.wait()


def test_peak_memory_counts_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SAMPLE_SECONDS", 0.05)
    child = "import sys; held = b'x' * 60_000_000; sys.stdin.read()"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"],
        stdin=subprocess.PIPE,
    )
    with processes.PeakMemory(lambda: processes.tree(parent.pid)) as both:
        seen = eventually(lambda: both.peak > 60_000_000)
        parent.communicate()
    assert seen


def database(*rows: tuple[str, str, str]) -> None:
    """Make a database of Airflow's shape with one run and tasks (task, state, run)."""
    scheduler.database().parent.mkdir(parents=True)
    with closing(sqlite3.connect(scheduler.database())) as connection, connection:
        connection.execute("create table dag_run (id integer, dag_id, run_id, state, end_date)")
        connection.execute("create table task_instance (task_id, dag_id, run_id, state, start_date, end_date)")
        connection.execute("insert into dag_run values (1, 'alignment', 'r', 'running', null)")
        times = ("2026-01-01 00:00:00.500000", "2026-01-01 00:00:03.000000")
        for task, state, run in rows:
            connection.execute(
                "insert into task_instance values (?, 'alignment', ?, ?, ?, ?)", (task, run, state, *times)
            )


def test_the_database_tells_state_and_seconds_of_a_task(workspace: Path) -> None:
    database(("sft", "success", "r"))
    (task,) = scheduler.tasks("r")
    assert (task.task, task.state, task.seconds) == ("sft", "success", 2.5)
    assert scheduler.latest_run() == (1, "r", "running")


def test_a_run_that_was_killed_is_called_failed_and_so_are_its_unfinished_tasks(workspace: Path) -> None:
    database(("fetch", "success", "r"), ("sft", "running", "r"), ("dpo", "", "r"))
    scheduler.fail_unfinished()
    assert {task.task: task.state for task in scheduler.tasks("r")} == {
        "fetch": "success",
        "sft": "failed",
        "dpo": "failed",
    }
    assert scheduler.latest_run() == (1, "r", "failed")


def test_the_last_words_of_a_task_are_its_error_line(tmp_path: Path) -> None:
    log = tmp_path / "sft.log"
    log.write_text("starting\nerror: no such model; name another.\nERROR: failed to reproduce 'sft'\n")
    assert turn.last_words(log) == "no such model; name another."
    log.write_text("starting\nKeyError: 'x'\n\n")
    assert turn.last_words(log) == "KeyError: 'x'"
    assert turn.last_words(tmp_path / "none.log") == "it left no word"


ONE = Released(version=1, bundle="b1", bento="t:1", bento_model="m:1", path="p", approved_by="Ada")
TWO = Pin(stage="package", facts={"version": 2, "bundle": "b2", "bento": "t:2", "bento_model": "m:2", "path": "p"})
CHAMPION = Release(**ONE.model_dump())
SAME = Pin(stage="package", facts=ONE.model_dump(exclude={"approved_by"}))
TAKEN_BACK = CHAMPION.model_copy(update={"rolled_back": ("b2",)})


@pytest.mark.parametrize(
    ("approve", "outcome", "package", "release", "step"),
    [
        ("yes", "pass", TWO, CHAMPION, "approve_by_option"),
        ("yes", "inconclusive", TWO, None, "approve_by_option"),
        ("pass", "pass", TWO, CHAMPION, "approve_by_option"),
        ("pass", "inconclusive", TWO, None, "keep_champion"),
        ("pass", "fail", TWO, CHAMPION, "keep_champion"),
        ("pass", "pass", TWO, TAKEN_BACK, "keep_champion"),
        ("ask", "pass", TWO, CHAMPION, "approve"),
        ("no", "pass", TWO, CHAMPION, "keep_champion"),
        ("yes", "fail", TWO, CHAMPION, "keep_champion"),
        ("ask", "fail", TWO, CHAMPION, "keep_champion"),
        ("yes", "pass", TWO, TAKEN_BACK, "keep_champion"),
        ("ask", "pass", TWO, TAKEN_BACK, "approve"),
        ("yes", "pass", SAME, CHAMPION, "deploy"),
        ("ask", "fail", SAME, CHAMPION, "deploy"),
    ],
)
def test_what_follows_the_gate(approve: str, outcome: str, package: Pin, release: Release | None, step: str) -> None:
    assert next_step(approve, outcome, package, release)[0] == step


def test_a_release_is_read_as_it_was_written(workspace: Path) -> None:
    assert read_release() is None
    write_release(TAKEN_BACK)
    assert read_release() == TAKEN_BACK
    assert settings().state_dir / "release.json" in settings().state_dir.iterdir()


GATE = {
    "outcome": "pass",
    "reason": "all required criteria passed",
    "criteria": [
        {"name": "nll", "title": "Held-out", "required": True, "n": 40, "delta": -0.125, "low": -0.2, "high": -0.05},
        {"name": "judge", "outcome": "abstain", "delta": None},
    ],
}


def test_the_gates_table_shows_differences_with_intervals() -> None:
    heading, first, second = gate_table(GATE)
    assert dict(zip(heading, first, strict=True)) == {
        "criterion": "Held-out (required)",
        "n": "40",
        "candidate": "",
        "champion": "",
        "difference": "-0.125",
        "interval": "[-0.2, -0.05]",
        "outcome": "",
        "more needed": "",
    }
    assert second[0] == "judge"
    assert second[5] == ""


def test_the_approval_shows_outcome_table_and_dossier() -> None:
    body = gate_markdown(GATE, Path("/data/dossier.html"), "http://tracker/#/runs/r")
    assert body.startswith("The gate's outcome: **pass**. all required criteria passed")
    assert "| Held-out (required) | 40 |" in body
    assert "[The dossier in MLflow](http://tracker/#/runs/r), or as a file: /data/dossier.html" in body
