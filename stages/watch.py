"""Hold the served release against itself: does it answer the golden set as it did at its promotion?

    python -m stages.watch             # the first look at a release keeps its answers; later ones compare with them
    python -m stages.watch --accept    # what it answers today is right: keep that instead, and begin anew

It asks the whole chat service, retrieval and guardrails included. Drift ends in an error, so that the task fails, in a
metric and a page of MLflow, and in an alert where `THUMBWHEEL_ALERTMANAGER_URL` names an Alertmanager.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import Field

from eval.drift import Criterion, Line, Pair, Reply, claims, judge, overall
from stages.answer import SetParams, rank
from stages.golden import page
from stages.golden.asking import Question, ask_all, question_of, served_release
from stages.golden.ledger import Ledger, Look, read_ledger, write_ledger
from thumbwheel.command import run
from thumbwheel.errors import DriftError, ParamsError
from thumbwheel.lake import read_pinned
from thumbwheel.params import Params, load_params
from thumbwheel.settings import settings
from thumbwheel.tracking import StageRun, stage_run

log = logging.getLogger(__name__)

LEAST_ANSWERED = 0.9
"""The share of the questions that must have an answer for these to be what later looks are held against."""
ALERT = "GoldenSetDrifts"
ALERTED, NO_MORE = timedelta(days=8), timedelta(0)
"""How long an alert lasts: until after the next weekly look, or no longer."""


class WatchParams(Params):
    """What is asked, and how far what is answered may move."""

    alpha: float = Field(gt=0, lt=1)
    sets: dict[str, SetParams]
    seed: int
    concurrency: int = Field(ge=1)
    timeout_seconds: float = Field(gt=0)
    criteria: list[Criterion] = Field(min_length=1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.watch", description="Look for drift of the served release.")
    parser.add_argument("--accept", action="store_true", help="keep today's answers as those that are right")
    options = parser.parse_args()
    params = load_params("watch", WatchParams)
    release = served_release(chat_url())
    ledger = None if options.accept else read_ledger(release)
    with stage_run("watch", params) as stage:
        stage.tag("thumbwheel.model", str(release["model"]))
        if ledger is None:
            keep(release, params)
            stage.metrics({"drift": 0.0})
        else:
            compare(ledger, params, stage)


def keep(release: dict[str, Any], params: WatchParams) -> Ledger:
    """Ask the golden set and keep the answers for later looks.

    Raises:
        DriftError: too few questions were answered.
    """
    questions = golden_set(params)
    answers = asked(questions, params, number=0)
    answered = sum(answer is not None for answer in answers)
    if answered < LEAST_ANSWERED * len(questions):
        raise DriftError(f"only {answered} of {len(questions)} golden questions were answered; see the chat's log.")
    ledger = Ledger(release=release, kept_at=now(), questions=questions, answers=answers, looks=[])
    write_ledger(ledger)
    tell(release, f"the answers of {release['model']} are those that are right", NO_MORE)
    log.info("kept %d answers of %s, for later looks", answered, release["model"])
    return ledger


def compare(ledger: Ledger, params: WatchParams, stage: StageRun) -> list[Line]:
    """Ask the golden set again, compare, and write down what came of it.

    Raises:
        DriftError: the answers have drifted; one line says in what.
    """
    number = len(ledger.looks) + 1
    today = asked(ledger.questions, params, number)
    made = claims(paired(ledger.answers, today), params.criteria)
    lines = judge(made, [look.e_values for look in ledger.looks], params.alpha)
    outcome = overall(lines)
    look = Look(at=now(), outcome=outcome, e_values={line.claim.name: line.claim.e_value for line in lines})
    ledger = ledger.model_copy(update={"looks": [*ledger.looks, look]})
    write_ledger(ledger)
    report(ledger, today, lines, stage)
    if outcome == "drift":
        message = page.sentence(ledger.release, lines, number)
        tell(ledger.release, message, ALERTED)
        raise DriftError(f"{message}; see {settings().reports / 'watch.html'}, or accept it with --accept.")
    tell(ledger.release, f"{ledger.release['model']} is not shown to have drifted", NO_MORE)
    log.info("look %d at %s: %s", number, ledger.release["model"], "no drift" if outcome == "none" else "inconclusive")
    return lines


def paired(before: Sequence[Reply | None], now: Sequence[Reply | None]) -> list[Pair | None]:
    """Return the pairs of answers, None where there is none today; what had none at the promotion is left out."""
    both = [(a, b) for a, b in zip(before, now, strict=True) if a is not None]
    return [None if b is None else (a, b) for a, b in both]


def golden_set(params: WatchParams) -> list[Question]:
    """Return the questions that the parameters name, from the pinned table of `pose`.

    Raises:
        ParamsError: a set has no question.
    """
    rows = read_pinned("pose", "questions").to_pylist()
    chosen: list[Question] = []
    for name, wanted in params.sets.items():
        members = sorted((row for row in rows if row["set"] == name), key=lambda row: rank(params.seed, row["id"]))
        if not members:
            raise ParamsError(f"watch.sets names '{name}', which has no questions in the table of `pose`.")
        chosen += [question_of(row, wanted.max_tokens) for row in members[: wanted.max_questions]]
    return chosen


def asked(questions: Sequence[Question], params: WatchParams, number: int) -> list[Reply | None]:
    """Return what the service answers now."""
    key = settings().chat_key
    credential = key.get_secret_value() if key else None
    work = ask_all(chat_url(), questions, number, credential, params.concurrency, params.timeout_seconds)
    return asyncio.run(work)


def chat_url() -> str:
    """Return where the chat service is."""
    from stages.deploy import base_url

    return (settings().chat_url or base_url()).rstrip("/")


def report(ledger: Ledger, today: Sequence[Reply | None], lines: Sequence[Line], stage: StageRun) -> None:
    """Write the page, and metrics and page into the tracker."""
    for path, content in page.files(settings().reports, page.markdown(ledger, today, lines)).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        stage.artifact(path)
    stage.metrics({"drift": float(overall(lines) == "drift"), "look": float(len(ledger.looks))})
    stage.metrics({f"evidence.{metric_name(line)}": min(line.evidence, 1e9) for line in lines})
    stage.metrics({f"mean.{metric_name(line)}": line.claim.mean for line in lines if line.claim.mean is not None})


def metric_name(line: Line) -> str:
    return line.claim.name.replace(", ", "_")


def tell(release: dict[str, Any], message: str, lasts: timedelta) -> None:
    """Tell Alertmanager, for so long; one that is away is a warning, for drift fails the task in any case."""
    if (place := settings().alertmanager_url) is None:
        return
    until = (datetime.now(UTC) + lasts).isoformat()
    labels = {"alertname": ALERT, "severity": "page", "model": str(release["model"])}
    action = "Read data/reports/watch.html; `make rollback` puts the previous champion back."
    body = [{"labels": labels, "annotations": {"summary": message, "action": action}, "endsAt": until}]
    try:
        httpx.post(f"{place.rstrip('/')}/api/v2/alerts", json=body, timeout=30).raise_for_status()
    except httpx.HTTPError as error:
        log.warning("Alertmanager at %s was not told: %s", place, error)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    run(main)
