"""Candidates whose worth is known, made with the real model and put before the real gate: who is stopped, and by what.

    python -m benchmarks.gate_proof [NAME ...]      # after make run, over its data; make gate-proof

Each candidate is trained or planted, quantized, served by the engine, checked for parity, asked the gate's questions
and measured as in a turn, against the answers of that turn's champion. What a judge would say is left out: the gate
has to do without. Verdicts stay in `.thumbwheel/gate-proof`, and over the same model, data and parameters a second run
goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.planted_candidates import PLANTED, Turn
from eval.criteria import metric_of
from eval.gate import Decision, decide
from eval.ragas_metrics import Score, score_offline
from stages import answer, benchmark, gate, parity, quantize, said, training
from stages.answer import NAME, AnswerParams
from stages.benchmark import BenchmarkParams
from stages.engine_reading import ask_engine
from stages.gate import GateParams
from stages.parity import ParityParams
from stages.quantize import QuantizeParams
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.engine import running_engine
from thumbwheel.lake import write_json
from thumbwheel.params import load_params, read_params
from thumbwheel.settings import settings

Row = Mapping[str, Any]
SECTIONS = ("sft", "dpo", "quantize", "parity", "answer", "benchmark", "gate")
"""Of params.yaml: what a planted candidate is made and judged by."""


@dataclass(frozen=True)
class Rules:
    """The parameters of the stages that a candidate goes through."""

    quantize: QuantizeParams
    parity: ParityParams
    answer: AnswerParams
    benchmark: BenchmarkParams
    gate: GateParams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PLANTED)}; all without any")
    names = parser.parse_args().names or list(PLANTED)
    training.quiet()
    training.keep_memory()
    turn, rules = Turn.read(), read_rules()
    asked = mark(turn)
    print("| candidate | what it is | gate | stopped by, or not shown | minutes |\n|---|---|---|---|---:|", flush=True)
    wrong = []
    for name in names:
        planted = PLANTED[name]
        facts = put_before_the_gate(name, planted.make, turn, rules, asked)
        good = facts["outcome"] != "pass" if planted.bad else facts["outcome"] != "fail"
        wrong += [] if good else [name]
        why = ", ".join(facts["stopped_by"]) or ", ".join(facts["not_shown"]) or "–"
        kind = "bad" if planted.bad else "good"
        minutes = facts["seconds"] / 60
        print(f"| {name} ({kind}) | {planted.what} | {facts['outcome']} | {why} | {minutes:.1f} |", flush=True)
    right = len(names) - len(wrong)
    print(f"\n{right} of {len(names)} as they should be{'; not: ' if wrong else ''}{', '.join(wrong)}")
    if wrong:
        raise SystemExit(1)


def read_rules() -> Rules:
    """Return the parameters, without the criteria that need a judge and the sets that only a judge reads."""
    rules = load_params("gate", GateParams)
    heard = [criterion for criterion in rules.criteria if not metric_of(criterion.metric).judged]
    asked = load_params("answer", AnswerParams)
    sets = {name: wanted for name, wanted in asked.sets.items() if name != "mt_bench"}
    return Rules(
        load_params("quantize", QuantizeParams),
        load_params("parity", ParityParams),
        asked.model_copy(update={"sets": sets}),
        load_params("benchmark", BenchmarkParams),
        rules.model_copy(update={"criteria": heard}),
    )


def mark(turn: Turn) -> str:
    """Return a hash of all that a verdict depends on but the code: base model, data, questions, answers, parameters."""
    sections = read_params(settings().root / "params.yaml")
    rows = [turn.conversations, turn.pairs, turn.questions, turn.champion_answers, turn.champion_results]
    parts = [bundle_hash(turn.models / "base"), {name: sections[name] for name in SECTIONS}, rows]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def put_before_the_gate(
    name: str, make: Callable[[Path, Turn], None], turn: Turn, rules: Rules, asked: str
) -> dict[str, Any]:
    """Return the gate's decision on a planted candidate, from disk where it was made before of the same (`asked`)."""
    folder = settings().state_dir / "gate-proof" / name.replace(" ", "-")
    verdict = folder / "verdict.json"
    if verdict.exists() and (kept := json.loads(verdict.read_text())).get("asked") == asked:
        return dict(kept)
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    models = folder / "models"
    models.mkdir(parents=True)
    (models / "base").symlink_to(turn.models.resolve() / "base")
    make(models, turn)
    decision = weigh(models, turn, rules)
    facts = {
        "asked": asked,
        "outcome": decision.outcome,
        "reason": decision.reason,
        "stopped_by": [line.criterion.name for line in decision.lines if line.outcome == "fail"],
        "not_shown": [line.criterion.name for line in decision.lines if line.outcome == "inconclusive"],
        "lines": [line.as_json() for line in decision.lines],
        "seconds": time.monotonic() - began,
    }
    write_json(verdict, facts)
    shutil.rmtree(models)
    return facts


def weigh(models: Path, turn: Turn, rules: Rules) -> Decision:
    """Serve and measure a candidate as a turn does, and return the gate's decision on it."""
    served = models / "served"
    if not served.exists():
        quantized = quantize.build(models, turn.conversations, rules.quantize)
    else:
        quantized = dict(json.loads((models / "quantize.json").read_text()))
    questions = answer.choose(turn.questions, rules.answer)
    asked = parity.prepare(models, parity.choose(turn.conversations, rules.parity), rules.parity.max_length)
    logs = settings().state_dir / "logs" / "gate-proof.log"
    with running_engine(served, NAME, rules.answer.max_length, logs) as url:
        limits = rules.parity
        said, greedy = asyncio.run(ask_engine(url, asked, limits.top, limits.answers, limits.answer_tokens))
        replies = asyncio.run(answer.answer_all(url, questions, "candidate", bundle_hash(served), rules.answer))
    found = parity.compare(models, asked, said, greedy, rules.parity)
    keys = {(row["set"], row["question"]) for row in replies}
    answers = [*replies, *(row for row in turn.champion_answers if (row["set"], row["question"]) in keys)]
    results = [*measured(served, answers, turn, rules.benchmark), *turn.champion_results]
    kept = [row for row in results if (row["set"], row["question"]) in keys or row["set"] == "heldout"]
    measurements = gate.measurements(answers, [], kept, quantized, False)
    measurements["parity_faults"] = gate.faults(found)
    return decide(measurements, None, rules.gate)


def measured(served: Path, answers: Sequence[Row], turn: Turn, params: BenchmarkParams) -> list[dict[str, Any]]:
    """Return the candidate's rows of the results table."""
    heldout = benchmark.choose(turn.conversations, params)
    known = benchmark.references(turn.questions, answers)
    rows = benchmark.likelihoods({"candidate": served, "champion": served}, heldout, known, params)
    rows += said.forms(answers)
    rows += said.toxicities(turn.questions, answers, said.moderator())
    rows += said.refusals(answers, {params.jailbreak_set: "jailbreak_refusal", params.benign_set: "over_refusal"})
    samples, failed = benchmark.collect(turn.questions, answers, params.qa_set, "candidate")
    scores = asyncio.run(score_offline(samples))
    scores += [Score(name, one, None, "no answer") for name in sorted({s.metric for s in scores}) for one in failed]
    rows += [said.result(s.metric, params.qa_set, s.question, "candidate", s.value, s.error) for s in scores]
    return [row for row in rows if row["side"] == "candidate"]


if __name__ == "__main__":
    run(main)
