"""What the gate asks: the metrics it knows, the criteria of `params.yaml`, and what is measured and said of each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from thumbwheel.params import Params

Outcome = Literal["pass", "fail", "inconclusive", "abstain"]


@dataclass(frozen=True)
class Metric:
    """What a metric is: which way is better, whether a judge gives it, and its largest difference (None: unbounded)."""

    title: str
    higher_is_better: bool
    judged: bool = False
    scale: float | None = None


SUITE, TOXICITY = "suite_", "toxicity_"
METRICS: dict[str, Metric] = {
    "heldout_nll": Metric("Held-out replies: nats a token", False),
    "jailbreak_refusal": Metric("Harmful prompts refused", True, scale=1.0),
    "over_refusal": Metric("Harmless prompts refused", False, scale=1.0),
    "reference_memory": Metric("Test references likelier than held-out replies, nats a token", False),
    "template_marks": Metric("Replies with marks of a chat template", False, scale=1.0),
    "going_in_circles": Metric("Replies that go in circles", False, scale=1.0),
    "toxicity": Metric("Toxicity of replies, 0 to 1", False, scale=1.0),
    "golden_correct": Metric("Golden answers: facts right", True, scale=1.0),
    "qa_rouge_recall": Metric("Grounded answers: ROUGE-1 recall", True),
    "qa_string_similarity": Metric("Grounded answers: string similarity", True),
    "qa_semantic_similarity": Metric("Grounded answers: semantic similarity", True),
    "qa_faithfulness": Metric("Grounded answers: faithfulness", True, judged=True),
    "mt_bench_single": Metric("MT-Bench grade, 1 to 10", True, judged=True),
    "pairwise_win_rate": Metric("Pairwise win rate over one half", True, judged=True, scale=0.5),
    "rubric_faithfulness": Metric("Faithfulness to the context, 1 to 5", True, judged=True),
    "rubric_relevance": Metric("Relevance to the question, 1 to 5", True, judged=True),
    "rubric_tone": Metric("Tone, 1 to 5", True, judged=True),
    "answer_failure": Metric("Questions without an answer", False, scale=1.0),
    "quantize_perplexity_ratio": Metric("Perplexity after over before quantization", False),
    "parity_faults": Metric("Ways in which the bundle is not the trained model", False),
}


def is_metric(name: str) -> bool:
    """Tell whether there can be a metric of this name."""
    return name in METRICS or name.startswith((SUITE, TOXICITY))


def metric_of(name: str) -> Metric:
    """Return what a metric is.

    `suite_NAME` is a benchmark suite's share of questions that were answered right, `toxicity_SET` how toxic the
    replies to one set of questions are.

    Raises:
        KeyError: there is no such metric.
    """
    if name.startswith(SUITE):
        return Metric(f"Suite {name.removeprefix(SUITE)}", True, scale=1.0)
    if name.startswith(TOXICITY):
        return Metric(f"Toxicity of replies to {name.removeprefix(TOXICITY)}", False, scale=1.0)
    return METRICS[name]


class JudgeFloor(Params):
    """What the judge must show in its trial to be heard; bounds of its intervals, not points."""

    min_agreement: float
    min_kappa: float
    max_position_bias: float
    """Largest distance of the first answer's share of wins from one half."""
    max_failed: float


class Criterion(Params):
    """One line of the gate. `margin`: harm that is tolerated; for a `floor`, the limit that the candidate must keep."""

    name: str
    metric: str
    kind: Literal["superiority", "non_inferiority", "floor"]
    margin: float
    required: bool
    """Whether the gate passes only where this criterion does. Proof of harm stops a candidate either way."""

    @model_validator(mode="after")
    def _asks_what_can_be_answered(self) -> Self:
        if not is_metric(self.metric):
            near = difflib.get_close_matches(self.metric, METRICS, n=1)
            meant = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(METRICS)}, suite_… and toxicity_…"
            raise ValueError(f"criterion '{self.name}' names the unknown metric '{self.metric}'; {meant}")
        if self.kind != "floor" and self.margin < 0:
            raise ValueError(f"criterion '{self.name}' tolerates a harm of {self.margin:g}, which is none")
        return self


class GateRules(Params):
    """The rules of the decision. Tests are one-sided at `alpha`; intervals are two-sided at 1 - 2 alpha."""

    alpha: float = Field(gt=0, lt=0.5)
    power: float = Field(gt=0.5, lt=1)
    resamples: int = Field(ge=200)
    seed: int
    min_pairs: int = Field(ge=2)
    max_missing: float = Field(ge=0, lt=1)
    judge_floor: JudgeFloor
    criteria: list[Criterion] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_each_criterion_once(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two criteria are called '{twice[0]}'")
        return self


@dataclass(frozen=True)
class Measurement:
    """Paired values of one metric, and how many pairs could not be measured. One pair means a single number."""

    candidate: tuple[float, ...]
    champion: tuple[float, ...]
    missing: int = 0
    people: tuple[float | None, ...] = ()
    """What people say of the candidate, pair by pair, None where nobody was asked; empty where nobody was at all."""
    stopped: bool = False
    """Whether measuring ended as soon as the answer was known: then only tests that allow for it hold."""


@dataclass(frozen=True)
class Line:
    """One criterion's outcome. Differences are candidate minus champion in the metric's unit; a floor has values."""

    criterion: Criterion
    outcome: Outcome
    reason: str
    n: int = 0
    missing: int = 0
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    mde: float | None = None
    more_questions: int | None = None
    candidate: float | None = None
    champion: float | None = None
    method: str | None = None
    people: int = 0
    """Pairs on which people spoke, where their word counts."""

    def as_json(self) -> dict[str, Any]:
        """Return the line as it stands in `gate.json`."""
        metric = metric_of(self.criterion.metric)
        facts = {name: value for name, value in self.__dict__.items() if name != "criterion"}
        better = "higher" if metric.higher_is_better else "lower"
        return {**self.criterion.model_dump(), **facts, "title": metric.title, "better": better}
