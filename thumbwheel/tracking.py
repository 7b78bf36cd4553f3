"""The tracker: one parent run a turn of the wheel, one nested run a stage.

`THUMBWHEEL_TURN` names the turn, so that stages in separate processes, and retries, meet in the same parent run.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbwheel.params import Params
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "thumbwheel"
MODEL = "thumbwheel-chat"
"""Name of the registered model; its aliases `champion` and `previous` say what is served."""
TURN_TAG = "thumbwheel.turn"
STAGE_TAG = "thumbwheel.stage"


@dataclass(frozen=True)
class StageRun:
    """Where a stage reports to: metrics by name, files and tags."""

    client: MlflowClient
    run_id: str

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run_id, name, float(value), step=step)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.client.log_artifact(self.run_id, str(path), folder)

    def tag(self, name: str, value: str) -> None:
        self.client.set_tag(self.run_id, name, value)


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or SQLite under the state folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{settings().state_dir / 'mlflow.db'}"


def artifact_page(experiment: str, run_id: str, path: str) -> str:
    """Return where MLflow's own pages show a file of a run: at the tracking server, or at that of `make up`."""
    server = re.sub(r"(?<=://)[^/@]*@", "", tracking_uri())
    if not server.startswith("http"):
        server = f"http://{settings().host}:{settings().mlflow_port}"
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}/artifacts/{path}"


def client() -> MlflowClient:
    """Return a client of the tracker and registry, with its store in place."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    settings().state_dir.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=tracking_uri(), registry_uri=tracking_uri())


@contextmanager
def stage_run(stage: str, params: Params | None = None) -> Iterator[StageRun]:
    """Open the nested run of a stage under this turn's parent; it ends FAILED where the body raises."""
    with _alone():
        api = client()
        experiment = _experiment(api)
        parent = _parent(api, experiment)
    tags = {"mlflow.runName": stage, "mlflow.parentRunId": parent, STAGE_TAG: stage, TURN_TAG: settings().turn}
    run_id = api.create_run(experiment, tags=tags).info.run_id
    for name, value in flatten(params.model_dump() if params else {}).items():
        api.log_param(run_id, name, str(value)[:6000])
    try:
        yield StageRun(api, run_id)
    except BaseException:
        with suppress(Exception):  # what ended the stage must be told, even where the tracker cannot be told
            api.set_terminated(run_id, "FAILED")
        raise
    api.set_terminated(run_id, "FINISHED")


def parent_run() -> StageRun:
    """Return the parent run of this turn, made where it does not exist yet."""
    with _alone():
        api = client()
        return StageRun(api, _parent(api, _experiment(api)))


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat |= flatten(item, f"{prefix}{name}.")
        else:
            flat[prefix + str(name)] = item
    return flat


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time look for what it may have to make: the store's tables, the experiment, the parent."""
    settings().state_dir.mkdir(parents=True, exist_ok=True)
    with (settings().state_dir / "tracker.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _experiment(api: MlflowClient) -> str:
    if (known := api.get_experiment_by_name(EXPERIMENT)) is not None:
        return str(known.experiment_id)
    local = tracking_uri().startswith("sqlite")
    where = (settings().state_dir / "mlartifacts").as_uri() if local else None
    return str(api.create_experiment(EXPERIMENT, artifact_location=where))


def _parent(api: MlflowClient, experiment: str) -> str:
    turn = settings().turn
    found = api.search_runs(
        [experiment], f"tags.`{TURN_TAG}` = '{turn}' and tags.`{STAGE_TAG}` = 'turn'", max_results=1
    )
    if found:
        return str(found[0].info.run_id)
    tags = {"mlflow.runName": f"turn {turn}", TURN_TAG: turn, STAGE_TAG: "turn"}
    return str(api.create_run(experiment, tags=tags).info.run_id)
