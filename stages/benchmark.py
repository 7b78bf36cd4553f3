"""Measure candidate and champion: held-out likelihood, refusals of harmful and of harmless prompts, grounded answers.

python -m stages.benchmark
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from eval.criteria import SUITE
from eval.perplexity import Likelihood, measure
from eval.ragas_metrics import Sample, Score, score_faithfulness, score_offline
from eval.suites import Suite, SuiteScore, run_suites
from stages.answer import champion_folder, rank
from stages.said import forms, golden, moderator, refusals, result, toxicities, toxicity_by
from stages.training import quiet
from thumbwheel import tracking
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.engine import running_engine
from thumbwheel.lake import Pin, read_pinned, write_json, write_pin, write_table
from thumbwheel.params import Params, load_params
from thumbwheel.records import RESULT, SIDES, to_table
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

HELDOUT, MEMORY = "heldout_nll", "reference_memory"
Row = Mapping[str, Any]


class BenchmarkParams(Params):
    """How much is measured; `faithfulness` asks the judge's endpoint and needs one that writes JSON."""

    seed: int
    min_conversations: int = Field(ge=0)
    max_conversations: int = Field(ge=1)
    max_length: int = Field(ge=1)
    batch: int = Field(ge=1)
    jailbreak_set: str
    benign_set: str
    qa_set: str
    golden_set: str
    faithfulness: bool
    max_faithfulness: int = Field(ge=0)
    suites: list[Suite]
    """Tasks of lm-evaluation-harness on files under `data/suites`, one metric each."""


def main() -> None:
    params = load_params("benchmark", BenchmarkParams)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else torch's idle threads spin and halve a busy machine
    quiet()
    questions = read_pinned("pose", "questions").to_pylist()
    answers = read_pinned("answer", "answers").to_pylist()
    heldout = choose(read_pinned("split", "conversations").to_pylist(), params)
    bundles = {"candidate": settings().models / "served", "champion": champion_folder()}
    with tracking.stage_run("benchmark", params) as stage:
        began = time.monotonic()
        rows = likelihoods(bundles, heldout, references(questions, answers), params)
        rows += suites(bundles, params)
        rows += forms(answers)
        rows += toxicities(questions, answers, moderator())
        rows += refusals(answers, {params.jailbreak_set: "jailbreak_refusal", params.benign_set: "over_refusal"})
        rows += golden(questions, answers, params.golden_set)
        rows += grounded(questions, answers, params)
        facts: dict[str, Any] = {"conversations": len(heldout), "toxicity_by": toxicity_by(moderator())}
        table = write_table("benchmark.results", to_table(rows, RESULT))
        stage.metrics({"seconds": time.monotonic() - began})
        stage.metrics({f"{m['metric']}.{m['side']}": m["mean"] for m in summary(rows) if m["mean"] is not None})
        write_json(settings().reports / "benchmark.json", {"metrics": summary(rows), **facts})
        write_pin(Pin(stage="benchmark", tables={"results": table}, facts=facts))
    log.info("measured %d values, %d failed", len(rows), sum(row["error"] is not None for row in rows))


def choose(conversations: Sequence[Row], params: BenchmarkParams) -> list[Row]:
    """Return held-out conversations: the test split, filled up from validation where it is small, sampled by hash."""
    splits: dict[str, list[Row]] = {"test": [], "validation": []}
    for conversation in conversations:
        splits.get(conversation["split"], []).append(conversation)
    for members in splits.values():
        members.sort(key=lambda row: rank(params.seed, str(row["id"])))
    test = splits["test"][: params.max_conversations]
    return test + splits["validation"][: max(0, params.min_conversations - len(test))]


def references(questions: Sequence[Row], answers: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the questions that were asked and have a reference answer, as conversations that end with it."""
    asked = {(answer["set"], answer["question"]) for answer in answers}
    return [
        {
            "id": question["id"],
            "set": question["set"],
            "messages": [
                {"role": "user", "content": question["turns"][0]},
                {"role": "assistant", "content": question["reference"][0]},
            ],
        }
        for question in questions
        if (question["set"], question["id"]) in asked and question["reference"] and question["reference"][0]
    ]


def likelihoods(
    bundles: Mapping[str, Path], heldout: Sequence[Row], known: Sequence[Row], params: BenchmarkParams
) -> list[dict[str, Any]]:
    """Return the likelihood of held-out conversations and of reference answers on both sides, equal bundles once.

    A reference's value is by how many nats a token it is likelier than that side's held-out replies: a model that was
    trained on the test questions knows their answers far better than it knows anything else.
    """
    hashes = {side: bundle_hash(folder) for side, folder in bundles.items()}
    found: dict[str, list[Likelihood]] = {}
    rows = []
    for side in SIDES:
        if hashes[side] not in found:
            found[hashes[side]] = measure(bundles[side], [*heldout, *known], params.max_length, params.batch, side)
        replies, answers = found[hashes[side]][: len(heldout)], found[hashes[side]][len(heldout) :]
        rows += [result(HELDOUT, "heldout", one.question, side, one.nll, one.error) for one in replies]
        measured = [one.nll for one in replies if one.nll is not None]
        usual = sum(measured) / len(measured) if measured else None
        for one, question in zip(answers, known, strict=True):
            value = None if one.nll is None or usual is None else usual - one.nll
            error = one.error or (None if usual is not None else "no held-out reply was measured")
            rows.append(result(MEMORY, question["set"], one.question, side, value, error))
    return rows


def suites(bundles: Mapping[str, Path], params: BenchmarkParams) -> list[dict[str, Any]]:
    """Return each side's scores on the benchmark suites, equal bundles once."""
    found: dict[str, list[SuiteScore]] = {}
    rows = []
    for side in SIDES:
        key = bundle_hash(bundles[side]) if params.suites else side
        if key not in found:
            place = settings().root / "data" / "suites"
            found[key] = run_suites(bundles[side], params.suites, place, params.seed, params.batch)
        rows += [result(f"{SUITE}{s.suite}", s.suite, s.question, side, s.value, s.error) for s in found[key]]
    return rows


def grounded(questions: Sequence[Row], answers: Sequence[Row], params: BenchmarkParams) -> list[dict[str, Any]]:
    """Return the RAGAS metrics of the answers to the questions with documents."""
    rows = []
    for side in SIDES:
        samples, failed = collect(questions, answers, params.qa_set, side)
        scores = asyncio.run(score_offline(samples))
        scores += [Score(name, q, None, "no answer") for name in sorted({s.metric for s in scores}) for q in failed]
        scores += faithfulness(samples[: params.max_faithfulness], side) if params.faithfulness else []
        rows += [result(s.metric, params.qa_set, s.question, side, s.value, s.error) for s in scores]
    return rows


def collect(
    questions: Sequence[Row], answers: Sequence[Row], name: str, side: str
) -> tuple[list[Sample], list[str]]:  # fmt: skip
    """Return the samples of one side, and the questions that it failed to answer."""
    known = {question["id"]: question for question in questions if question["set"] == name}
    samples, failed = [], []
    for answer in answers:
        if answer["set"] != name or answer["side"] != side:
            continue
        question = known[answer["question"]]
        if answer["error"] or not answer["replies"] or not question["reference"]:
            failed.append(answer["question"])
            continue
        documents = tuple(question["context"] or ())
        text, reference = question["turns"][0], question["reference"][0]
        samples.append(Sample(question["id"], text, documents, reference, answer["replies"][0]))
    return samples, failed


def faithfulness(samples: Sequence[Sample], side: str) -> list[Score]:
    """Return faithfulness by the judge's endpoint, or by the base model on a local engine."""
    place = settings()
    if place.judge_url:
        url, model, key = place.judge_url, str(place.judge_model), place.judge_api_key
        return asyncio.run(score_faithfulness(samples, url, model, key))
    logs = place.state_dir / "logs" / f"faithfulness-{side}.log"
    with running_engine(place.models / "base", "judge", 4096, logs) as url:
        return asyncio.run(score_faithfulness(samples, url, "judge", None))


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the mean, count and failures of each metric and side."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["metric"], row["side"]), []).append(row)
    lines = []
    for (metric, side), members in groups.items():
        values = [row["value"] for row in members if row["value"] is not None]
        mean = sum(values) / len(values) if values else None
        lines.append(
            {"metric": metric, "side": side, "mean": mean, "n": len(values), "failed": len(members) - len(values)}
        )
    return lines


if __name__ == "__main__":
    run(main)
