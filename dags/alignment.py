"""The wheel: one task a DVC stage, wired as `dvc.yaml` says, and after them approve, canary, promote and deploy.

airflow dags test alignment      # or make run, which runs this very DAG
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable, Param
from airflow.sdk.exceptions import AirflowSkipException

from thumbwheel import scheduler
from thumbwheel.graph import Stage, load_graph
from thumbwheel.params import read_params
from thumbwheel.settings import settings

FEEDBACK, RELEASE = Asset("thumbwheel_feedback"), Asset("thumbwheel_release")
SETS_CHAMPION = "data/inputs/champion.json"
"""What `challenge` writes; the stages that read it wait for that task."""
CANDIDATE = "models/served"
SKIPPED = 99
ROOT = settings().root
LOGS = settings().state_dir / "logs"

APPROVER = (
    "{%- set answer = ti.xcom_pull(task_ids='approve') -%}"
    "{%- if answer -%}{{ answer['responded_by_user']['name'] }}, in Airflow"
    "{%- else -%}{{ ti.xcom_pull(task_ids='approve_by_option') }}{%- endif -%}"
)
"""Jinja template of who approved: the person who answered `approve`, or the option."""


def command(task_id: str, body: str) -> str:
    """Return a shell command that runs `body` and keeps its output, for the turn's summary, in the log of the task."""
    return f"set -o pipefail; mkdir -p '{LOGS}'; ({body}) 2>&1 | tee '{LOGS}/{task_id}.log'"


def repro(stage: str) -> str:
    """Return the command that makes a stage, or ends with the status of a skip where its inputs did not change."""
    unchanged = f"dvc --wait-for-lock status -q {stage}"
    skip = f"{{ echo 'inputs unchanged: skipped'; exit {SKIPPED}; }}"
    return f"{unchanged} && {skip}; exec dvc --wait-for-lock repro --single-item {stage}"


def skip_unchanged(context: dict[str, Any]) -> None:
    """Skip a stage at once where this turn's survey proves it unchanged; otherwise the task asks DVC."""
    from thumbwheel.survey import is_unchanged

    if is_unchanged(context["task"].task_id, context["run_id"], ROOT):
        raise AirflowSkipException("inputs unchanged: skipped")


def shell(task_id: str, body: str, env: dict[str, str] | None = None, **options: Any) -> BashOperator:
    """Return a task that runs a command of ours and keeps its output for the summary."""
    return scheduler.shell(task_id, command(task_id, body), env, **options)


def stage_task(stage: Stage) -> BashOperator:
    """Return the task of a stage; `meta:` in dvc.yaml may name its pool, retries and timeout (in minutes)."""
    hints = stage.meta
    return shell(
        stage.name,
        repro(stage.name),
        pre_execute=skip_unchanged,
        trigger_rule="none_failed",
        pool=hints.get("pool", "default_pool"),
        retries=hints.get("retries", 0),
        execution_timeout=timedelta(minutes=hints["timeout"]) if "timeout" in hints else None,
    )


def decide(**context: Any) -> str:
    """Choose what follows the gate, and hand its table on to the approval."""
    from thumbwheel.lake import read_pin
    from thumbwheel.release import gate_markdown, next_step, read_release
    from thumbwheel.tracking import artifact_page

    reports, registered = settings().reports, read_pin("register").facts
    gate = json.loads((reports / "gate.json").read_text())
    page = artifact_page(registered["experiment"], registered["run_id"], "candidate/dossier.html")
    step, reason = next_step(context["params"]["approve"], gate["outcome"], read_pin("package"), read_release())
    for key, value in {"reason": reason, "table": gate_markdown(gate, reports / "dossier.html", page)}.items():
        context["ti"].xcom_push(key=key, value=value)
    print(reason)
    return step


def approve_by_option(**context: Any) -> str:
    """Return who approves where an option does; the release says so for good."""
    from thumbwheel.release import BY_OPTION

    return BY_OPTION.format(context["params"]["approve"])


def keep_champion(**context: Any) -> None:
    """Say why nothing was released."""
    print(context["ti"].xcom_pull(task_ids="decide", key="reason"))


def form_of(value: Any) -> dict[str, Any]:
    """Return the JSON schema of a parameter that has `value` today: the same keys, of the same types."""
    if value is None:
        return {"type": "object", "maxProperties": 0}
    if isinstance(value, dict):
        known = {str(key): form_of(item) for key, item in value.items()}
        return {"type": "object", "properties": known, "additionalProperties": False}
    kinds = {bool: "boolean", int: "integer", float: "number", list: "array"}
    return {"type": kinds.get(type(value), "string")}


def form() -> dict[str, Param]:
    """Return the form that starts a turn; Airflow refuses, with the reason, what does not fit it."""
    overrides = form_of(read_params(ROOT / "params.yaml"))
    return {
        "approve": Param(
            "ask",
            type="string",
            enum=["ask", "pass", "yes", "no"],
            description="ask: a release manager decides. pass: approve what the gate passes. "
            "yes: also what it leaves open. no: keep the champion.",
        ),
        "overrides": Param(
            {},
            **overrides,
            description="Parameters to change, as in params.yaml; written to it, where git shows them.",
        ),
    }


def build() -> DAG:
    """Return the DAG: observe, the stages with challenge among them, then the release."""
    stages = load_graph(ROOT / "dvc.yaml")
    with DAG(
        "alignment",
        description="One turn of the wheel: from conversations and feedback to a judged, approved, deployed model.",
        schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 3 * * 1", timezone="UTC"), assets=[FEEDBACK]),
        catchup=False,
        max_active_runs=1,
        params=form(),
        default_args={"retry_delay": timedelta(seconds=5)},
        doc_md=__doc__,
        tags=["thumbwheel"],
    ) as dag:
        tasks = {name: stage_task(stage) for name, stage in stages.items()}
        wire_stages(stages, tasks)
        leaves = [task for name, task in tasks.items() if not any(name in s.upstream for s in stages.values())]
        release(leaves)
    return dag


def wire_stages(stages: dict[str, Stage], tasks: dict[str, BashOperator]) -> None:
    """Set the edges among the stages, `observe` before all, and `challenge` before what reads the champion."""
    observe = shell(
        "observe",
        'python -m stages.observe --overrides "$OVERRIDES" && python -m thumbwheel.survey',
        env={"OVERRIDES": "{{ params.overrides | tojson }}"},
    )
    challenge = shell("challenge", "python -m stages.challenge", trigger_rule="none_failed")
    for name, stage in stages.items():
        for upstream in stage.upstream or ():
            tasks[upstream] >> tasks[name]
        if not stage.upstream:
            observe >> tasks[name]
        if CANDIDATE in stage.outs:
            tasks[name] >> challenge
        if SETS_CHAMPION in stage.deps:
            challenge >> tasks[name]


def release(leaves: list[BashOperator]) -> None:
    """Add what follows the last stages: decide, then approve, canary, promote and deploy, or keep the champion.

    A canary that is rolled back ends as skipped, and so does the promotion; the champion goes on being served.
    """
    choice = BranchPythonOperator(task_id="decide", python_callable=decide, trigger_rule="none_failed")
    approve = ApprovalOperator(
        task_id="approve",
        subject="Release the candidate of {{ run_id }} as champion?",
        body="{{ ti.xcom_pull(task_ids='decide', key='table') }}",
        ignore_downstream_trigger_rules=True,
        retries=2,  # an answer given before a busy scheduler saw the task park is lost to it: then it asks again
    )
    by_option = PythonOperator(task_id="approve_by_option", python_callable=approve_by_option)
    keep = PythonOperator(task_id="keep_champion", python_callable=keep_champion)
    canary = shell(
        "canary",
        'python -m stages.canary --approved-by "$APPROVER"',
        env={"APPROVER": APPROVER},
        trigger_rule="none_failed_min_one_success",
    )
    promote = shell("promote", 'python -m stages.promote --approved-by "$APPROVER"', env={"APPROVER": APPROVER})
    deploy = shell(
        "deploy",
        "python -m stages.deploy",
        trigger_rule="none_failed_min_one_success",
        outlets=[RELEASE],
    )
    leaves >> choice >> [approve, by_option, keep, deploy]
    [approve, by_option] >> canary >> promote >> deploy


build()
