"""Judge the answers: pairwise in both orders, grades, rubrics, and the judge's own trial on labelled pairs.

    python -m stages.judge

The judge is the endpoint that `THUMBWHEEL_JUDGE_URL` names, or the base model on a local engine. Every verdict is kept
as soon as it is given, so that a run that was cut short goes on where it stopped. Pairwise judging may end as soon as
its answer is known (`judge.sequential`); the order of the questions is drawn by the seed, so that where it ends is a
function of the verdicts alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from eval.judge import MEND, Judge, NotKeptError, public
from eval.people import people_cases, read_people
from eval.plan import Key, Planner, Row, Rubric, by_question
from eval.ruling import resolve
from eval.session import SequentialParams, Session, VerdictParams, Work, hear
from eval.trial import Case, try_judge
from thumbwheel import tracking
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.engine import running_engine
from thumbwheel.errors import JudgeError, ParamsError
from thumbwheel.lake import Pin, read_pin, read_pinned, write_json, write_pin, write_table
from thumbwheel.params import Params, load_params
from thumbwheel.records import VERDICT, to_table
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

LOCAL = "judge"
PEOPLE = Path("data/human")
"""Where people's verdicts lie: DVC watches this folder, and would not see a change elsewhere."""


class RubricParams(Params):
    """Which sets are graded by which rubrics of `eval/prompts`, and on how many questions of each at most."""

    sets: list[str]
    rubrics: list[Rubric]
    max_questions: int = Field(ge=0)


class PriceParams(Params):
    """Of a million tokens, in any one currency; null where it is unknown."""

    prompt: float | None = Field(ge=0)
    completion: float | None = Field(ge=0)


class JudgeParams(VerdictParams):
    """What is judged, beside how."""

    pairwise_sets: list[str]
    single_sets: list[str]
    rubric: RubricParams
    reference_categories: list[str]
    trial_set: str | None
    """Labelled pairs on which the judge stands trial; without any it is not heard."""
    sequential: SequentialParams | None
    human_verdicts: str | None
    """A JSONL file under `data/human` (see the README there), or null."""
    tie_margin: float = Field(ge=0, lt=0.5)
    price: PriceParams
    seed: int
    resamples: int = Field(ge=100)
    confidence: float = Field(gt=0, lt=1)


def main() -> None:
    params = load_params("judge", JudgeParams)
    questions = read_pinned("pose", "questions").to_pylist()
    answers = read_pinned("answer", "answers").to_pylist()
    work = plan(questions, answers, params)
    people, rejections = people_rows(params, by_question(answers))
    for reason, lines in rejections.items():
        log.warning("%d of people's verdicts do not count: %s", lines, reason.replace("_", " "))
    with tracking.stage_run("judge", params) as stage:
        began, identity = time.monotonic(), judge_identity()
        session = sit(work, identity, params)
        rows = session.rows + people
        facts = report(questions, rows, work, session, identity, params) | people_facts(rows, answers, params)
        table = write_table("judge.verdicts", to_table(rows, VERDICT))
        stage.metrics({"seconds": time.monotonic() - began, "calls": session.calls, "errors": facts["errors"]})
        stage.metrics({"calls_saved": facts["sequential"]["calls_saved"], **session.cost})
        measures = {n: m["value"] for n, m in facts["trial"].items() if isinstance(m, dict) and "value" in m}
        stage.metrics({f"trial_{name}": value for name, value in measures.items()})
        write_json(settings().reports / "judge.json", facts)
        write_pin(Pin(stage="judge", tables={"verdicts": table}, rejections=rejections, facts=facts))
    log.info("%d verdicts by %s, %d errors, %d calls", len(rows), identity, facts["errors"], session.calls)


def plan(questions: Sequence[Row], answers: Sequence[Row], params: JudgeParams) -> Work:
    """Return every verdict that is wanted, in an order that the seed fixes."""
    planner = Planner.load(params.reference_categories, params.rubric.rubrics)
    known, sides = {(q["set"], q["id"]): q for q in questions}, by_question(answers)
    pairs = [planner.pairwise(known[key], sides[key]) for key in sides if key[0] in params.pairwise_sets]
    order = np.random.default_rng(params.seed).permutation(len(pairs))
    others = [item for key in sides if key[0] in params.single_sets for item in planner.single(known[key], sides[key])]
    for key in graded_keys(sides, params.rubric):
        others += [item for name in params.rubric.rubrics for item in planner.rubric(name, known[key], sides[key])]
    for question in trial_questions(questions, params.trial_set):
        others += planner.trial(question)
    return Work([pairs[index] for index in order], others)


def graded_keys(keys: Sequence[Key] | Mapping[Key, Any], params: RubricParams) -> list[Key]:
    """Return the first questions of each set that rubrics grade."""
    return [
        key for name in params.sets for key in [key for key in keys if key[0] == name][: params.max_questions]
    ]  # fmt: skip


def trial_questions(questions: Sequence[Row], trial_set: str | None) -> list[Row]:
    """Return the labelled pairs in a fixed order."""
    return sorted((q for q in questions if q["set"] == trial_set), key=lambda q: str(q["id"]))


def people_rows(params: JudgeParams, sides: Mapping[Key, Any]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return people's verdicts on these answers, and why others do not count.

    Raises:
        ParamsError: judging may stop early as well.
        JudgeError: the file is not there, lies where DVC does not see it, or has a line that is no verdict.
    """
    if params.human_verdicts is None:
        return [], {}
    if params.sequential:
        raise ParamsError(
            "judge.sequential and judge.human_verdicts exclude each other: people correct the judge over a fixed set "
            "of questions, not over one that ended when the judge was sure; set one of them to null."
        )
    path = Path(params.human_verdicts)
    if path.parent != PEOPLE:
        raise JudgeError(f"judge.human_verdicts is {path}; it must lie in {PEOPLE}, which DVC watches.")
    try:
        text = (settings().root / path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise JudgeError(f"judge.human_verdicts names {path}, which is not there; set it to null or add it.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise JudgeError(
            f"judge.human_verdicts names {path}, which is no text in UTF-8 ({error}); save it as such."
        ) from None
    judged = {key for key in sides if key[0] in params.pairwise_sets}
    return read_people(text, str(path), judged, read_pin("answer").facts["bundles"])


def sit(work: Work, identity: str, params: JudgeParams) -> Session:
    """Get all rulings, from the cache alone where that suffices; else with the endpoint, started if it is ours."""
    try:
        return asyncio.run(hear(make_judge(None, LOCAL, identity, params), work, params.tie_margin, params.sequential))
    except NotKeptError:
        with endpoint(params.max_length) as (url, model):
            return asyncio.run(
                hear(make_judge(url, model, identity, params), work, params.tie_margin, params.sequential)
            )


def make_judge(url: str | None, model: str, identity: str, params: VerdictParams) -> Judge:
    """Return the judge's client, whose verdicts all stages keep in one place."""
    return Judge(
        url,
        model,
        identity,
        settings().state_dir / "judge-cache",
        api_key=settings().judge_api_key,
        concurrency=params.concurrency,
        retries=params.retries,
        pause_seconds=params.pause_seconds,
        timeout_seconds=params.timeout_seconds,
        verdict_tokens=params.verdict_tokens,
        min_mass=params.min_mass,
        leads=settings().judge_url is None,
    )


def judge_identity() -> str:
    """Return who judges: the endpoint and its model, or the local model's hash.

    Raises:
        JudgeError: an endpoint is set without a model.
    """
    place = settings()
    if not place.judge_url:
        return f"local:{bundle_hash(place.models / 'base')[:16]}"
    if not place.judge_model:
        raise JudgeError(f"THUMBWHEEL_JUDGE_URL is {public(place.judge_url)}, but no model is named; {MEND}")
    return f"{public(place.judge_url)} {place.judge_model}"


def appointed() -> str:
    """Return who judges as far as the environment says, which `observe` writes down: another judge judges anew.

    Raises:
        JudgeError: an endpoint is set without a model.
    """
    return judge_identity() if settings().judge_url else "the base model"


@contextmanager
def endpoint(max_length: int) -> Iterator[tuple[str, str]]:
    """Yield (base URL, model) of the judge, the local engine started where no endpoint is named."""
    place = settings()
    if place.judge_url:
        yield place.judge_url, str(place.judge_model)
        return
    logs = place.state_dir / "logs" / "judge.log"
    with running_engine(place.models / "base", LOCAL, max_length, logs) as url:
        yield url, LOCAL


def report(
    questions: Sequence[Row],
    rows: Sequence[Row],
    work: Work,
    session: Session,
    identity: str,
    params: JudgeParams,
) -> dict[str, Any]:
    """Return the facts of the pin."""
    saved = sum(bool(item.ask) for group in work.pairs[session.judged_questions :] for item in group)
    ended = {"on": params.sequential is not None, "answer": session.answer, "calls_saved": saved}
    ended |= {"questions": len(work.pairs), "judged": session.judged_questions}
    cost = {**session.cost, "money": session.usage.money(params.price.prompt, params.price.completion)}
    trial = trial_facts(questions, rows, params) | {"judge": identity, "prompts": trial_prompts(rows)}
    return {"judge": identity, "trial": trial, "sequential": ended, "cost": cost, **count(rows)}


def trial_facts(questions: Sequence[Row], rows: Sequence[Row], params: JudgeParams) -> dict[str, Any]:
    """Return the outcome of the judge's trial; no pairs where there is no trial set."""
    said = {(row["question"], row["order"]): row["winner"] for row in rows if row["kind"] == "trial"}
    cases = [
        Case(q["id"], q["category"], q["label"], len(q["a"]) > len(q["b"]), said[q["id"], "ab"], said[q["id"], "ba"])
        for q in trial_questions(questions, params.trial_set)
    ]
    return try_judge(cases, np.random.default_rng(params.seed), params.resamples, params.confidence)


def people_facts(rows: Sequence[Row], answers: Sequence[Row], params: JudgeParams) -> dict[str, Any]:
    """Return how far the judge's verdicts on these answers agree with people's, where people spoke."""
    cases = people_cases(rows, by_question(answers))
    rng = np.random.default_rng(params.seed)
    return {"people_trial": try_judge(cases, rng, params.resamples, params.confidence)} if cases else {}


def trial_prompts(rows: Sequence[Row]) -> list[str]:
    """Return the labels of the prompts that the trial was held with."""
    return sorted({row["prompt"] for row in rows if row["kind"] == "trial" and row["prompt"]})


def count(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many verdicts there are, failed, and flipped with the order; and how many are people's."""
    pairs: dict[tuple[str, str, int], list[str]] = {}
    for row in rows:
        if row["kind"] == "pairwise" and row["error"] is None:
            pairs.setdefault((row["set"], row["question"], row["turn"]), []).append(row["winner"])
    flipped = sum(resolve(*both)[1] for both in pairs.values() if len(both) == 2)
    people = sum(row["kind"] == "human" for row in rows)
    errors = sum(row["error"] is not None for row in rows)
    found = {"verdicts": len(rows) - people, "errors": errors, "pairs": len(pairs), "flipped": flipped}
    return found | {"people": people}


if __name__ == "__main__":
    run(main)
