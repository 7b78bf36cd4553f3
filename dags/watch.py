"""Ask the served release the golden set every week, and whenever one was deployed; drift fails the run, and so alarms.

airflow dags test watch
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable

from thumbwheel.scheduler import shell

RELEASE = Asset("thumbwheel_release")
"""What `deploy` updates: the first look at a release keeps its answers, which later ones are held against."""

with DAG(
    "watch",
    description="Does the served release still answer as it did at its promotion?",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("23 5 * * 4", timezone="UTC"), assets=[RELEASE]),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["thumbwheel"],
):
    shell("watch", "python -m stages.watch", execution_timeout=timedelta(hours=2))
