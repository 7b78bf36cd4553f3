"""Put the judge on trial: labelled pairs in both orders, and how well and how fairly it decides them.

    python -m benchmarks.judge_trial [--pairs N] [--set NAME=URI ...]

Tries the judge that the environment names (else the base model on the local engine) on the trial sets of params.yaml
and, where it is on this machine, on LLMBar (Zeng et al., 2024): natural pairs, and four kinds of adversarial ones in
which the worse answer looks better. Prints Markdown. The result is kept in data/reports/judge_trial.json with judge,
prompts, pairs and the way of measuring: as long as none of them changes it is shown again without a call, and once one
does the judge stands trial again.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.public_data import AbsentDataError, public_data
from eval import trial
from eval.criteria import JudgeFloor
from eval.gate import hear_judge
from eval.likelihood import likelier, likelihoods
from eval.plan import Planner
from eval.session import Work, hear
from eval.trial import Case, try_judge
from stages.judge import JudgeParams, endpoint, judge_identity, make_judge
from stages.pose import PoseParams, QuestionSet, read_set
from thumbwheel.command import run
from thumbwheel.lake import write_json
from thumbwheel.params import load_params, read_params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

LLMBAR = "judge/llmbar"
MEASURES = ("agreement", "kappa", "position_bias", "length_bias", "self_preference", "flips")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, help="at most so many pairs of a set, drawn by the seed of params.yaml")
    parser.add_argument("--set", action="append", default=[], help="NAME=URI of further pairs, ours or LLMBar's format")
    options = parser.parse_args()
    params = load_params("judge", JudgeParams)
    pairs = {name: sample(rows, options.pairs, params.seed) for name, rows in labelled_sets(options.set)}
    report = stand(pairs, params, settings().reports / "judge_trial.json")
    floor = JudgeFloor(**read_params(settings().root / "params.yaml")["gate"]["judge_floor"])
    print("\n".join(markdown(report, floor)))


def labelled_sets(further: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield name and rows of every set of labelled pairs that is here."""
    for item in load_params("pose", PoseParams).sets:
        if item.kind == "trial":
            yield item.name, read_set(item, {})
    for name, _, uri in (one.partition("=") for one in further):
        yield name, read_set(QuestionSet(name=name, kind="trial", uri=uri, references=None), {})
    try:
        for path in sorted(public_data(LLMBAR).glob("*.json")):
            item = QuestionSet(name=f"LLMBar {path.stem}", kind="trial", uri=str(path), references=None)
            yield item.name, read_set(item, {})
    except AbsentDataError as absent:
        log.info("without LLMBar: %s", absent)


def sample(rows: Sequence[Row], count: int | None, seed: int) -> list[Row]:
    """Return at most `count` of the rows, in their order."""
    if count is None or count >= len(rows):
        return list(rows)
    picked = np.random.default_rng(seed).choice(len(rows), size=count, replace=False)
    return [rows[index] for index in sorted(picked)]


def stand(pairs: Mapping[str, Sequence[Row]], params: JudgeParams, place: Path) -> Row:
    """Return the report that is kept, if it is of this judge, these prompts and pairs; else hold the trial and keep it.

    Raises:
        JudgeError: the judge cannot be reached or refuses; what it said until then is kept.
    """
    planner = Planner.load(params.reference_categories, [])
    judge = judge_identity()
    asked: dict[str, Any] = {
        "judge": judge,
        "prompts": [planner.prompts["pairwise"].label],
        "tie_margin": params.tie_margin,
    }
    asked["measured_by"] = hashlib.sha256(Path(trial.__file__).read_bytes()).hexdigest()[:12]
    asked["pairs"] = {name: [[row["id"], row["label"]] for row in rows] for name, rows in pairs.items()}
    if place.exists() and (kept := json.loads(place.read_text()))["asked"] == asked:
        log.info("the judge stood this trial already: %s", place)
        return dict(kept)
    report = {"asked": asked, "sets": hold(pairs, planner, judge, params)}
    write_json(place, report)
    return report


def hold(pairs: Mapping[str, Sequence[Row]], planner: Planner, identity: str, params: JudgeParams) -> Row:
    """Ask the judge and return the facts of each set."""
    rows = [row for one in pairs.values() for row in one]
    work = Work([], [item for row in rows for item in planner.trial(row)])
    with endpoint(params.max_length) as (url, model):
        said = asyncio.run(hear(make_judge(url, model, identity, params), work, params.tie_margin, None))
        own = asyncio.run(familiar(url, model, rows, params))
    winners = {(row["set"], row["question"], row["order"]): row["winner"] for row in said.rows}
    facts = {}
    for name, one in pairs.items():
        cases = [case(row, winners, own.get((row["set"], row["id"]))) for row in one]
        facts[name] = try_judge(cases, np.random.default_rng(params.seed), params.resamples, params.confidence)
    return facts


async def familiar(
    url: str, model: str, rows: Sequence[Row], params: JudgeParams
) -> dict[tuple[str, str], str | None]:  # fmt: skip
    """Return which answer of each pair the judge's model finds likelier; nothing where the endpoint does not say."""
    texts = [(row["turns"][0], row[side]) for row in rows for side in ("a", "b")]
    key = settings().judge_api_key
    found = await likelihoods(url, model, texts, params.concurrency, params.timeout_seconds, key)
    if found is None:
        log.info("the endpoint gives no likelihoods: self-preference stays unknown")
        return {}
    return {(row["set"], row["id"]): likelier(found[2 * n], found[2 * n + 1]) for n, row in enumerate(rows)}


def case(row: Row, winners: Mapping[tuple[str, str, str], str | None], own: str | None) -> Case:
    """Return one labelled pair with what the judge said of it."""
    first, second = (winners[row["set"], row["id"], order] for order in ("ab", "ba"))
    return Case(row["id"], row["category"], row["label"], len(row["a"]) > len(row["b"]), first, second, own)


def markdown(report: Row, floor: JudgeFloor) -> Iterator[str]:
    """Yield the lines of the report: a table of the sets, one of the kinds of pairs, and whether it would be heard."""
    yield f"Judge: `{report['asked']['judge']}`, asked by `{', '.join(report['asked']['prompts'])}`.\n"
    yield "| pairs | n | unreadable | agreement | kappa | first wins | longer | likelier to itself | flips | heard |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    reasons = []
    for name, facts in report["sets"].items():
        heard, why = hear_judge(facts, floor)
        cells = [name, str(facts["pairs"]), str(facts["failed"]), *(cell(facts[measure]) for measure in MEASURES)]
        yield f"| {' | '.join(cells)} | {'yes' if heard else 'no'} |"
        reasons += [] if heard else [f"- not heard on {name}: {why}"]
    yield from (["", *reasons] if reasons else [])
    yield "\n| set | kind of pair | n | agreement | kappa |\n|---|---|---:|---:|---:|"
    for name, facts in report["sets"].items():
        for kind, one in facts["categories"].items():
            yield f"| {name} | {kind} | {one['pairs']} | {cell(one['agreement'])} | {cell(one['kappa'])} |"


def cell(measure: Mapping[str, float] | None) -> str:
    """Return a value with its interval."""
    return "–" if measure is None else f"{measure['value']:.2f} ({measure['low']:.2f} to {measure['high']:.2f})"


if __name__ == "__main__":
    run(main)
