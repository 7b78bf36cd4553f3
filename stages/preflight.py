"""Read all of `params.yaml` before a turn begins: a typo must not wait for its stage, hours of training later.

python -m stages.preflight
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast, get_args

from eval.criteria import METRICS, SUITE, TOXICITY
from eval.plan import Rubric
from eval.ragas_metrics import FAITHFULNESS, OFFLINE
from stages.answer import AnswerParams
from stages.arms.watch import CanaryParams
from stages.benchmark import BenchmarkParams
from stages.collect import CollectParams
from stages.dedup import DedupParams
from stages.describe import DescribeParams
from stages.dpo import DpoParams
from stages.enqueue import EnqueueParams
from stages.fetch import FetchParams
from stages.gate import GateParams
from stages.grade import GradeParams
from stages.index import IndexParams
from stages.ingest import IngestParams
from stages.judge import JudgeParams
from stages.kto import KtoParams
from stages.package import PackageParams
from stages.pairs import PairsParams
from stages.parity import ParityParams
from stages.pose import PoseParams
from stages.quantize import QuantizeParams
from stages.scrub import ScrubParams, pseudonym_key
from stages.sft import SftParams
from stages.split import SplitParams
from stages.tune import TuneParams
from stages.watch import WatchParams
from thumbwheel.command import run
from thumbwheel.errors import ParamsError, SettingsError
from thumbwheel.params import Params, load_params, read_params
from thumbwheel.settings import settings

SECTIONS: dict[str, type[Params]] = {
    "fetch": FetchParams,
    "ingest": IngestParams,
    "pose": PoseParams,
    "index": IndexParams,
    "collect": CollectParams,
    "pairs": PairsParams,
    "dedup": DedupParams,
    "scrub": ScrubParams,
    "grade": GradeParams,
    "split": SplitParams,
    "describe": DescribeParams,
    "sft": SftParams,
    "dpo": DpoParams,
    "kto": KtoParams,
    "tune": TuneParams,
    "quantize": QuantizeParams,
    "parity": ParityParams,
    "answer": AnswerParams,
    "enqueue": EnqueueParams,
    "judge": JudgeParams,
    "benchmark": BenchmarkParams,
    "gate": GateParams,
    "package": PackageParams,
    "canary": CanaryParams,
    "watch": WatchParams,
}


def main() -> None:
    check(settings().root / "params.yaml")
    print(f"all {len(SECTIONS)} sections of params.yaml can be used")


def check(path: Path) -> None:
    """Refuse a `params.yaml` with a section that cannot be used, or that names what another section does not have.

    Raises:
        ParamsError: all that is wrong, in one line.
    """
    faults, read = list(_unknown(path)), dict[str, Params]()
    for name, kind in SECTIONS.items():
        try:
            read[name] = load_params(name, kind, path)
        except ParamsError as error:
            faults.append(str(error))
    if not faults:
        found = (*_strangers(read), *_unmeasured(read), *_too_early(read), *_unplaced(read))
        faults = [f"{path.name}: {fault}." for fault in found]
    if faults:
        raise ParamsError(" ".join(faults))


def _unknown(path: Path) -> Iterator[str]:
    for name in sorted(set(read_params(path)) - set(SECTIONS)):
        near = difflib.get_close_matches(str(name), SECTIONS, n=1)
        meant = f"did you mean '{near[0]}'?" if near else "no stage reads it."
        yield f"{path.name} has an unknown section '{name}'; {meant}"


def _strangers(read: Mapping[str, Params]) -> Iterator[str]:
    """Yield each place that names a set of questions which the section that should have it does not have."""
    posed = {one.name for one in cast(PoseParams, read["pose"]).sets}
    asked, judge = set(cast(AnswerParams, read["answer"]).sets), cast(JudgeParams, read["judge"])
    yield from _missing("answer.sets", asked, "pose.sets", posed)
    yield from _missing("watch.sets", cast(WatchParams, read["watch"]).sets, "pose.sets", posed)
    yield from _missing("judge.trial_set", [judge.trial_set] if judge.trial_set else [], "pose.sets", posed)
    yield from _missing("judge.pairwise_sets", judge.pairwise_sets, "answer.sets", asked)
    yield from _missing("judge.single_sets", judge.single_sets, "answer.sets", asked)
    yield from _missing("judge.rubric.sets", judge.rubric.sets, "answer.sets", asked)
    yield from _missing("enqueue.sets", cast(EnqueueParams, read["enqueue"]).sets, "answer.sets", asked)


def _unmeasured(read: Mapping[str, Params]) -> Iterator[str]:
    """Yield each criterion of the gate on a metric that these parameters do not measure."""
    benchmark, asked = cast(BenchmarkParams, read["benchmark"]), set(cast(AnswerParams, read["answer"]).sets)
    sources = _sources(benchmark, cast(JudgeParams, read["judge"]))
    sources |= {f"{TOXICITY}{name}": {name} for name in asked}
    asked |= {f"{SUITE}{suite.name}" for suite in benchmark.suites}
    for criterion in cast(GateParams, read["gate"]).criteria:
        one_of_many = criterion.metric not in METRICS
        on = sources.get(criterion.metric, {criterion.metric} if one_of_many else None)
        if on is not None and not on & asked:
            yield f"gate criterion '{criterion.name}' needs '{criterion.metric}', which nothing here measures"


def _too_early(read: Mapping[str, Params]) -> Iterator[str]:
    """Yield that pairwise judging would stop before Holm's correction can call what it found an improvement."""
    rules, gate = cast(JudgeParams, read["judge"]).sequential, cast(GateParams, read["gate"])
    family = sum(criterion.kind == "superiority" for criterion in gate.criteria)
    if rules is not None and family and rules.alpha > gate.alpha / family:
        yield (
            f"judge.sequential.alpha is {rules.alpha:g}, more than gate.alpha over its {family} superiority criteria "
            f"({gate.alpha / family:g}): judging would stop before the gate can decide"
        )


def _unplaced(read: Mapping[str, Params]) -> Iterator[str]:
    """Yield what these parameters need of the environment and it does not have."""
    try:
        pseudonym_key(cast(ScrubParams, read["scrub"]))
    except SettingsError as error:
        yield str(error).rstrip(".")
    if cast(DedupParams, read["dedup"]).index == "redis" and settings().redis_url is None:
        yield "dedup.index is 'redis', but THUMBWHEEL_REDIS_URL is not set"


def _sources(benchmark: BenchmarkParams, judge: JudgeParams) -> dict[str, set[str]]:
    """Return, for each metric that may not be measured, the sets of questions that it is measured on."""
    grounded = {benchmark.qa_set}
    rubrics = {f"rubric_{name}": set(judge.rubric.sets) for name in judge.rubric.rubrics if judge.rubric.max_questions}
    return {
        "jailbreak_refusal": {benchmark.jailbreak_set},
        "over_refusal": {benchmark.benign_set},
        "golden_correct": {benchmark.golden_set},
        **dict.fromkeys(OFFLINE, grounded),
        FAITHFULNESS: grounded if benchmark.faithfulness and benchmark.max_faithfulness else set(),
        "mt_bench_single": set(judge.single_sets),
        "pairwise_win_rate": set(judge.pairwise_sets),
        **{f"rubric_{name}": set() for name in get_args(Rubric)},
        **rubrics,
    }


def _missing(place: str, named: Iterable[str], where: str, known: set[str]) -> Iterator[str]:
    for name in sorted(set(named) - known):
        yield f"{place} names '{name}', which {where} does not have ({', '.join(sorted(known)) or 'it is empty'})"


if __name__ == "__main__":
    run(main)
