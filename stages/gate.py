"""Decide whether the candidate may replace the champion; write the dossier for who approves, and the model card.

python -m stages.gate
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

from pydantic import Field

from eval import model_card
from eval.criteria import METRICS, SUITE, TOXICITY, GateRules, Measurement, metric_of
from eval.dossier import CUT, Comparison, Contents, render, worst_first
from eval.evidence import difference
from eval.gate import Decision, decide
from eval.mt_bench import by_category, grades, mean, overall, people_points, win_rates
from eval.plan import Key, Row, Rubric, by_question
from eval.trial import retrial
from stages.fetch import FetchParams
from stages.lineage import DATA_STAGES, MODEL_STAGES, data_steps, model_steps
from thumbwheel import tracking
from thumbwheel.command import run
from thumbwheel.errors import GateError
from thumbwheel.lake import read_pin, read_pinned, write_json
from thumbwheel.params import load_params
from thumbwheel.records import SIDES
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

CARD = "model_card.md"
COUNTS = ("verdicts", "errors", "pairs", "flipped", "people", "trial", "sequential", "cost")
"""What the report says of the judge's session."""


class GateParams(GateRules):
    """The rules, and how many answers the dossier shows side by side."""

    dossier_answers: int = Field(ge=0)


@dataclass(frozen=True)
class Tables:
    """The rows that the gate weighs."""

    questions: Mapping[Key, Row]
    answers: Sequence[Row]
    verdicts: Sequence[Row]
    results: Sequence[Row]


def main() -> None:
    params = load_params("gate", GateParams)
    tables, judge = read_tables(), read_pin("judge").facts
    bundle = read_pin("answer").facts["bundles"]["candidate"]
    quantized, parity = (of_bundle(name, bundle) for name in ("quantize", "parity"))
    stopped = judge["sequential"]["on"]
    measured = measurements(tables.answers, tables.verdicts, tables.results, quantized, stopped)
    measured["parity_faults"] = faults(parity)
    with tracking.stage_run("gate", params) as stage:
        decision = decide(measured, judge["trial"], params, retrial(judge["trial"], tables.verdicts))
        gate = as_json(decision, judge, bundle, champion(), params.alpha) | {"parity": parity}
        shown = worst_first(compare(tables, decision.judge_heard), params.dossier_answers)
        beside = contents(tables, measured, shown, params)
        stage.artifact(write_page("dossier.html", render(gate, beside)))
        stage.artifact(write_page(CARD, model_card.render(gate, beside, load_params("fetch", FetchParams).model)))
        stage.metrics({f"delta.{one['name']}": one["delta"] for one in gate["criteria"] if one["delta"] is not None})
        stage.tag("outcome", decision.outcome)
        write_json(settings().reports / "gate.json", gate)
    log.info("the gate's outcome is %s: %s", decision.outcome, decision.reason)


def read_tables() -> Tables:
    """Return the rows that the stages before handed on."""
    return Tables(
        {(q["set"], q["id"]): q for q in read_pinned("pose", "questions").to_pylist()},
        read_pinned("answer", "answers").to_pylist(),
        read_pinned("judge", "verdicts").to_pylist(),
        read_pinned("benchmark", "results").to_pylist(),
    )


def contents(
    tables: Tables, measured: Mapping[str, Measurement], shown: Sequence[Comparison], rules: GateRules
) -> Contents:
    """Return what the dossier shows beside the decision."""
    names = {key: str(question["category"]) for key, question in tables.questions.items()}
    return Contents(
        benchmark=benchmark_lines(measured, rules),
        categories=by_category(names, tables.verdicts),
        overall=overall(tables.verdicts),
        preferred=tally(win_rates(tables.verdicts)),
        comparisons=shown,
        data=data_steps({name: read_pin(name) for name in DATA_STAGES}),
        trade_off=read_report(settings().reports / "dpo.json", "dpo").get("trade_off", []),
        models=model_steps({name: read_report(settings().reports / f"{name}.json", name) for name in MODEL_STAGES}),
    )


def write_page(name: str, page: str) -> Path:
    """Write a page for people and return where it is."""
    path = settings().reports / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)
    return path


def of_bundle(stage: str, bundle: str) -> dict[str, Any]:
    """Return a stage's report on the bundle that answered.

    Raises:
        GateError: the report is missing, damaged, or of another bundle.
    """
    path = settings().reports / f"{stage}.json"
    report = read_report(path, stage)
    if report.get("bundle") != bundle:
        raise GateError(
            f"{path} is of bundle {str(report.get('bundle'))[:12]}, but {bundle[:12]} answered; "
            f"run the wheel again from '{stage}'."
        )
    return report


def champion() -> dict[str, Any]:
    """Return what `data/inputs/champion.json` says."""
    return read_report(settings().inputs / "champion.json", "challenge")


def read_report(path: Path, stage: str) -> dict[str, Any]:
    """Return a JSON object from a file."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise GateError(f"{path} is missing; run the stage '{stage}' first.") from None
    except (ValueError, TypeError):
        raise GateError(f"{path} is damaged; run the stage '{stage}' again.") from None


def measurements(
    answers: Sequence[Row], verdicts: Sequence[Row], results: Sequence[Row], quantized: Row, stopped: bool
) -> dict[str, Measurement]:  # fmt: skip
    """Return every metric that was measured, paired by question; `stopped`: pairwise judging may have ended early."""
    found: dict[str, Measurement] = {}
    for metric in sorted({row["metric"] for row in results}):
        found[metric] = paired(
            {(r["set"], r["question"], r["side"]): r["value"] for r in results if r["metric"] == metric}
        )
    for name in sorted({row["set"] for row in results if row["metric"] == "toxicity"}):
        one_set = [r for r in results if (r["metric"], r["set"]) == ("toxicity", name)]
        found[f"{TOXICITY}{name}"] = paired({(r["set"], r["question"], r["side"]): r["value"] for r in one_set})
    kinds = {"mt_bench_single": "single"} | {f"rubric_{name}": f"rubric_{name}" for name in get_args(Rubric)}
    for metric, kind in kinds.items():
        if given := grades(verdicts, kind):
            found[metric] = paired(given)
    if rates := win_rates(verdicts):
        found["pairwise_win_rate"] = preferences(rates, people_points(verdicts), stopped)
    found["answer_failure"] = paired({(a["set"], a["question"], a["side"]): float(is_failed(a)) for a in answers})
    found["quantize_perplexity_ratio"] = quantization(quantized)
    return found


def preferences(rates: Mapping[Key, float | None], people: Mapping[Key, float], stopped: bool) -> Measurement:
    """Return win rates against one half, with what people say of the same questions."""
    judged = {key: rate for key, rate in rates.items() if rate is not None}
    spoken = tuple(people.get(key) for key in judged) if people else ()
    return Measurement(tuple(judged.values()), (0.5,) * len(judged), len(rates) - len(judged), spoken, stopped)


def tally(rates: Mapping[Key, float | None]) -> dict[str, int]:
    """Return how many questions each side won, over its turns, and how many nobody did."""
    whole = [rate for rate in rates.values() if rate is not None]
    won, lost = sum(rate > 0.5 for rate in whole), sum(rate < 0.5 for rate in whole)
    return {"candidate": won, "tie": len(whole) - won - lost, "champion": lost}


def quantization(report: Row) -> Measurement:
    """Return perplexity after over before quantization, a single number; missing where it was not measured."""
    before, after = report.get("perplexity_before"), report.get("perplexity_after")
    if not before or after is None:
        return Measurement((), (), 1)
    return Measurement((float(after) / float(before),), (1.0,))


def faults(parity: Row) -> Measurement:
    """Return in how many ways the bundle is not the trained model, a single number."""
    return Measurement((float(len(parity["faults"])),), (0.0,))


def paired(values: Mapping[tuple[str, str, str], float | None]) -> Measurement:
    """Return the pairs of both sides; a question that failed on either side is missing."""
    keys = sorted({key[:2] for key in values})
    both = [tuple(values.get((*key, side)) for side in SIDES) for key in keys]
    whole = [(one, other) for one, other in both if one is not None and other is not None]
    return Measurement(tuple(a for a, _ in whole), tuple(b for _, b in whole), len(both) - len(whole))


def is_failed(answer: Row) -> bool:
    """Return whether an answer failed or has an empty reply."""
    return bool(answer["error"]) or not answer["replies"] or not all(reply.strip() for reply in answer["replies"])


def as_json(decision: Decision, judge: Row, bundle: str, against: Row, alpha: float) -> dict[str, Any]:
    """Return the decision as it stands in `gate.json`."""
    counts = {name: judge[name] for name in COUNTS}
    counts["is_champion"] = judge["judge"] == f"local:{against['bundle'][:16]}"
    return {
        "outcome": decision.outcome,
        "reason": decision.reason,
        "criteria": [line.as_json() for line in decision.lines],
        "judge": {"name": judge["judge"], "heard": decision.judge_heard, "reason": decision.judge_reason, **counts},
        "bundle": bundle,
        "champion": {"version": against["version"], "bundle": against["bundle"]},
        "alpha": alpha,
    }


def benchmark_lines(measured: Mapping[str, Measurement], rules: GateRules) -> list[dict[str, Any]]:
    """Return a line for each metric that was measured, in the order of `METRICS`, those of sets and suites last."""
    lines = []
    for name in [
        *(m for m in METRICS if m in measured),
        *sorted(m for m in measured if m.startswith((SUITE, TOXICITY))),
    ]:
        found, metric = measured[name], metric_of(name)
        means = {side: mean(getattr(found, side)) for side in SIDES}
        better = "higher" if metric.higher_is_better else "lower"
        counts = {"n": len(found.candidate), "missing": found.missing}
        apart = {"difference": difference(found, name, rules)}
        lines.append({"title": metric.title, "better": better, "judged": metric.judged, **counts, **means, **apart})
    return lines


def compare(tables: Tables, judge_heard: bool) -> list[Comparison]:
    """Return both replies to each question, with the candidate's gain where something trustworthy measured it."""
    gains = result_gains(tables.results)
    if judge_heard:
        rates = win_rates(tables.verdicts)
        gains |= {key: (2 * rate - 1, "by the judge") for key, rate in rates.items() if rate is not None}
    gains |= {key: (2 * points - 1, "by people") for key, points in people_points(tables.verdicts).items()}
    found = []
    for key, both in by_question(tables.answers).items():
        gain, why = gains.get(key, (None, "not measured"))
        word = "" if gain is None else "loses " if gain < 0 else "wins " if gain > 0 else "is level "
        ours, theirs = (shown_replies(both[side]) if side in both else () for side in SIDES)
        question = tables.questions[key]
        found.append(
            Comparison(*key, str(question["category"]), tuple(question["turns"]), ours, theirs, gain, word + why)
        )
    return found


def shown_replies(answer: Row) -> tuple[str, ...]:
    """Return an answer's replies; those that the limit of tokens cut off say so."""
    ends = [f" {CUT}" if how == "length" else "" for how in answer["finish"]]
    return tuple(reply + end for reply, end in zip_longest(answer["replies"], ends, fillvalue=""))


def result_gains(results: Sequence[Row]) -> dict[Key, tuple[float, str]]:
    """Return the candidate's gain on each question by refusal or by semantic similarity."""
    words = {
        "jailbreak_refusal": "at refusing what is harmful",
        "over_refusal": "at answering what is harmless",
        "qa_semantic_similarity": "at likeness to the reference",
    }
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in results:
        if row["metric"] in words and row["value"] is not None:
            values.setdefault((row["metric"], row["set"], row["question"]), {})[row["side"]] = row["value"]
    gains = {}
    for (metric, name, question), both in values.items():
        if len(both) == len(SIDES):
            sign = 1 if metric_of(metric).higher_is_better else -1
            gains[name, question] = (sign * (both["candidate"] - both["champion"]), words[metric])
    return gains


if __name__ == "__main__":
    run(main)
