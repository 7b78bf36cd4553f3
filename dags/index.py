"""Rebuild the knowledge index alone, every night or by hand: look at the documents, then the graph's stage `index`.

airflow dags test index
"""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable

from thumbwheel.graph import Stage, load_graph
from thumbwheel.scheduler import shell
from thumbwheel.settings import settings

ROOT = settings().root
OBSERVED = "data/inputs/documents.json"
"""What the first task writes; the stages that read it follow, and all that they need before them."""


def needed(stages: dict[str, Stage]) -> list[Stage]:
    """Return the stages that read the documents, with all upstream of them, upstream first."""
    wanted = {name for name, stage in stages.items() if OBSERVED in stage.deps}
    for name in reversed(stages):
        wanted |= set(stages[name].upstream) if name in wanted else set()
    return [stage for name, stage in stages.items() if name in wanted]


def build() -> DAG:
    """Return the DAG: `fetch_documents`, and a task for each stage from there to the index."""
    with DAG(
        "index",
        description="The documents that the chat answers from, read, cut and embedded, for the next release.",
        schedule=CronTriggerTimetable("41 1 * * *", timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        doc_md=__doc__,
        tags=["thumbwheel"],
    ) as dag:
        fetch = shell("fetch_documents", "python -m stages.observe --documents")
        stages = needed(load_graph(ROOT / "dvc.yaml"))
        tasks = {s.name: shell(s.name, f"exec dvc --wait-for-lock repro --single-item {s.name}") for s in stages}
        for stage in stages:
            [fetch, *(tasks[name] for name in stage.upstream)] >> tasks[stage.name]
    return dag


build()
