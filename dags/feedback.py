"""Collect feedback every hour; where enough has come since the last turn, say so, and the wheel turns.

airflow dags test feedback
"""

from __future__ import annotations

import json
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, Asset, CronTriggerTimetable, Param

from thumbwheel.scheduler import shell
from thumbwheel.settings import settings

FEEDBACK = Asset("thumbwheel_feedback")


def unused_events() -> int:
    """Return how many events the lake holds that no turn has used yet."""
    from stages.collect import current_pin

    pin, used = current_pin(), settings().inputs / "feedback.json"
    before = json.loads(used.read_text())["rows"] if used.exists() else 0
    return (pin.rows if pin else 0) - int(before)


def enough(**context: Any) -> bool:
    """Tell whether the events that no turn has used suffice for one."""
    waiting, wanted = unused_events(), int(context["params"]["min_events"])
    print(f"{waiting} new events; a turn starts at {wanted}")
    return waiting >= wanted


def announce(**context: Any) -> None:
    """Update the asset that `alignment` waits for."""
    print("enough feedback: the wheel turns")


with DAG(
    "feedback",
    description="Events into the lake; enough of them turn the wheel.",
    schedule=CronTriggerTimetable("17 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    params={"min_events": Param(50, type="integer", minimum=1, description="new events that start a turn")},
    doc_md=__doc__,
    tags=["thumbwheel"],
):
    collect = shell("collect", "python -m stages.collect")
    check = ShortCircuitOperator(task_id="enough", python_callable=enough)
    collect >> check >> PythonOperator(task_id="announce", python_callable=announce, outlets=[FEEDBACK])
