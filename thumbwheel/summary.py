"""What a turn of the wheel says at its end: what was caught, learned, judged and released, and where to look."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from thumbwheel.errors import ThumbwheelError
from thumbwheel.graph import load_graph
from thumbwheel.lake import Pin, read_pin
from thumbwheel.release import gate_table, is_released, next_step, read_release
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from rich.table import Table

    from thumbwheel.scheduler import TaskState

ALWAYS_RUN = ("observe", "challenge", "decide", "deploy")
RELEASE_TASKS = ("decide", "approve", "approve_by_option", "keep_champion", "canary", "promote", "deploy")
Rows = Sequence[Sequence[str]]


def show(run_id: str, tasks: Sequence[TaskState], seconds: float, peak: int) -> None:
    """Print the summary; in colours and boxes on a terminal, plain elsewhere."""
    from rich.console import Console

    console = Console(width=None if _is_terminal() else 110, highlight=False)
    for title, rows in sections():
        if len(rows) > 1:
            console.print(_table(title, rows))
    console.print(_table("Time", [("task", "state", "seconds"), *times(tasks)]))
    for line in (*released(), *places(), f"turn {run_id} took {seconds:.0f} s, peak memory {peak / 2**30:.1f} GiB"):
        console.print(line, soft_wrap=True)


def sections() -> Iterator[tuple[str, Rows]]:
    """Yield title and rows (the first row is the heading) of each table of the summary."""
    yield "Planted defects", planted()
    yield "Turned away", [("stage", "reason", "rows"), *turned_away()]
    yield "Training", training()
    gate = _report("gate")
    yield f"Gate: {gate.get('outcome', 'not reached')}. {gate.get('reason', '')}", gate_table(gate)


def planted() -> Rows:
    """Return how many of each planted defect were caught."""
    try:
        from thumbwheel import planted as list_

        rows = ((kind, str(total), str(caught)) for kind, (caught, total) in list_.report().items())
        return [("defect", "planted", "caught"), *rows]
    except (ImportError, ThumbwheelError, FileNotFoundError):
        return []


def turned_away() -> Iterator[tuple[str, str, str]]:
    """Yield stage, reason and count of the rows that the stages rejected or quarantined, as their pins say."""
    for stage in load_graph(settings().root / "dvc.yaml"):
        pin = _pin(stage)
        for reason, count in sorted(pin.rejections.items()) if pin else ():
            if count:
                yield stage, reason, str(count)


def training() -> Rows:
    """Return the ends of the training curves: each number that the reports of the training stages hold."""
    rows = [
        (stage, name, f"{value:.4g}")
        for stage in ("sft", "dpo", "kto")
        for name, value in _report(stage).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return [("stage", "measure", "value"), *rows]


def times(tasks: Sequence[TaskState]) -> list[tuple[str, str, str]]:
    """Return name, state and seconds of each task that had its turn."""
    return [(task.task, task.state, f"{task.seconds:.1f}") for task in tasks if task.state and task.state != "removed"]


def released() -> Iterator[str]:
    """Yield what is released, by whose approval, and why the candidate was not where it was not."""
    release, package = read_release(), _pin("package")
    if release is None:
        yield "released: nothing yet"
    else:
        yield f"released: version {release.version} ({release.bento}), approved by {release.approved_by}"
    canary = _report("canary")
    if package and canary.get("bundle") == package.facts["bundle"]:
        yield f"canary: {canary['decision']['reason']} (data/reports/canary.html)"
    if package and not is_released(release, package):
        gate = _report("gate")
        outcome = str(gate.get("outcome"))
        yield f"not released: version {package.facts['version']}; {next_step('no', outcome, package, release)[1]}"


def places() -> Iterator[str]:
    """Yield where to look next."""
    settings_ = settings()
    from thumbwheel.tracking import tracking_uri

    yield f"dossier:  {settings_.reports / 'dossier.html'}"
    yield f"data:     {settings_.reports / 'data_card.html'}"
    yield f"runs:     mlflow ui --backend-store-uri {tracking_uri()} --port {settings_.mlflow_port}"
    if read_release():
        yield f"chat:     http://{settings_.host}:{settings_.chat_port}"


def report(run_id: str, tasks: Sequence[TaskState], seconds: float, peak: int) -> None:
    """Close the turn's parent run in the tracker, with its times and its peak memory."""
    import os

    from thumbwheel import tracking

    os.environ["THUMBWHEEL_TURN"] = run_id
    settings.cache_clear()
    parent = tracking.parent_run()
    parent.metrics({"seconds": seconds, "peak_gib": peak / 2**30})
    parent.metrics({f"seconds.{task.task}": task.seconds for task in tasks if task.state == "success"})
    parent.client.set_terminated(parent.run_id)


def _table(title: str, rows: Rows) -> Table:
    from rich import box
    from rich.table import Table

    heading, *body = rows
    table = Table(title=title, title_justify="left", box=box.SIMPLE if _is_terminal() else box.ASCII)
    for name in heading:
        table.add_column(name, overflow="fold")
    for row in body:
        table.add_row(*row)
    return table


def _report(name: str) -> dict[str, Any]:
    try:
        return dict(json.loads((settings().reports / f"{name}.json").read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _pin(stage: str) -> Pin | None:
    try:
        return read_pin(stage)
    except ThumbwheelError:
        return None


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()
