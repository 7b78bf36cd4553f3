"""The embedded Airflow: its home and environment, and the runs and tasks in its database."""

from __future__ import annotations

import os
import secrets
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbwheel.errors import TurnError
from thumbwheel.settings import REPOSITORY, settings

if TYPE_CHECKING:
    from airflow.providers.standard.operators.bash import BashOperator

DAG = "alignment"
POOLS = {"gpu": 1}
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


@dataclass(frozen=True)
class TaskState:
    """One task of a run: its state in Airflow's words, and when it started and ended."""

    task: str
    state: str | None
    started: datetime | None
    ended: datetime | None

    @property
    def seconds(self) -> float:
        """Return how long it ran, 0 where it has not ended."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else 0.0


def home() -> Path:
    """Return `AIRFLOW_HOME` of the embedded Airflow."""
    return settings().state_dir / "airflow"


def environment() -> dict[str, str]:
    """Return the environment in which the embedded Airflow and its tasks run."""
    settings_ = settings()
    url = f"http://127.0.0.1:{settings_.airflow_port}"
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    airflow = {
        "CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,release:user,viewer:viewer",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_path()),
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home() / 'airflow.db'}",
        "LOGGING__BASE_LOG_FOLDER": str(home() / "logs"),
        "USAGE_DATA_COLLECTION__ENABLED": "False",
        "API__HOST": "127.0.0.1",
        "API__PORT": str(settings_.airflow_port),
        "API__BASE_URL": url,
        "API__WORKERS": "1",
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "API_AUTH__JWT_SECRET": _jwt_secret(),
    }
    fixed = {
        "AIRFLOW_HOME": str(home()),
        "PATH": path,
        "THUMBWHEEL_ROOT": str(settings_.root),
        "SPT_NOENV": "1",  # Airflow renames its processes, which else wipes the environment by which ours are found
    }
    return {**os.environ, **fixed, **{f"AIRFLOW__{name}": value for name, value in airflow.items()}}


def task_environment() -> dict[str, str]:
    """Return what a task's command needs beside the worker's environment; Airflow fills in `{{ run_id }}`."""
    root = str(settings().root)
    return {
        "THUMBWHEEL_TURN": "{{ run_id }}",
        "THUMBWHEEL_ROOT": root,
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([root, str(REPOSITORY)])),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count() or 1)),
        "OMP_WAIT_POLICY": "PASSIVE",
        "DVC_NO_ANALYTICS": "true",
    }


def shell(task_id: str, command: str, env: dict[str, str] | None = None, **options: Any) -> BashOperator:
    """Return an Airflow task that runs a command of ours from the root of the repository."""
    from airflow.providers.standard.operators.bash import BashOperator

    return BashOperator(
        task_id=task_id,
        bash_command=command,
        cwd=str(settings().root),
        env={**task_environment(), **(env or {})},
        append_env=True,
        do_xcom_push=False,
        **options,
    )


def passwords_path() -> Path:
    """Return where the first passwords of the embedded users are."""
    return home() / "simple_auth_manager_passwords.json.generated"


def prepare() -> None:
    """Make the database, once a version of Airflow; the stamp is written last.

    Raises:
        TurnError: Airflow could not make its database.
    """
    stamp = home() / f".ready-{version('apache-airflow')}"
    if stamp.exists() and database().exists():
        return
    (home() / "logs").mkdir(parents=True, exist_ok=True)
    airflow("db", "migrate")
    stamp.touch()


def make_pools() -> None:
    """Make the pools that a scheduler heeds; `airflow dags test`, which runs one task at a time, needs none."""
    for name, slots in POOLS.items():
        airflow("pools", "set", name, str(slots), "heavy work, one at a time")


def airflow(*arguments: str) -> str:
    """Run an Airflow command and return its output.

    Raises:
        TurnError: it failed; the message ends with its last words.
    """
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments], env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise TurnError(f"'airflow {' '.join(arguments)}' failed: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def database() -> Path:
    """Return the embedded database."""
    return home() / "airflow.db"


def latest_run() -> tuple[int, str, str] | None:
    """Return number, run id and state of the newest run, or None where there is none."""
    rows = _query("select id, run_id, state from dag_run where dag_id = ? order by id desc limit 1", DAG)
    return (int(rows[0][0]), str(rows[0][1]), str(rows[0][2])) if rows else None


def tasks(run_id: str) -> list[TaskState]:
    """Return the tasks of a run, in the order in which they started."""
    sql = "select task_id, state, start_date, end_date from task_instance where dag_id = ? and run_id = ?"
    found = [TaskState(str(t), s, _time(a), _time(b)) for t, s, a, b in _query(sql, DAG, run_id)]
    return sorted(found, key=lambda task: (task.started is None, str(task.started)))


def fail_unfinished() -> None:
    """Call every unfinished run failed; for a start-up where no scheduler runs, so that none of them lives.

    A run killed with force stays 'running' in the database, and a scheduler started later would go on with it.
    """
    unended = ", ".join(f"'{state}'" for state in ENDED)
    with closing(sqlite3.connect(database(), timeout=30)) as connection, connection:
        connection.execute(
            f"update task_instance set state = 'failed' where (state is null or state not in ({unended})) "
            "and run_id in (select run_id from dag_run where state in ('running', 'queued'))"
        )
        connection.execute(
            "update dag_run set state = 'failed', end_date = datetime('now') where state in ('running', 'queued')"
        )


def _query(sql: str, *values: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(f"file:{database()}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(sql, values).fetchall()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _jwt_secret() -> str:
    path = home() / "jwt_secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(64))
    return path.read_text()
