"""Benchmark suites of lm-evaluation-harness from local files: one score a question, so that two models can be paired.

Prompts, few-shot examples and scoring are the harness's own (Gao et al., github.com/EleutherAI/lm-evaluation-harness).
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import Field, model_validator

from eval.perplexity import load
from eval.programs import Programs, generating, solve
from eval.sandbox import run_program
from eval.sentences import offer_sentences
from eval.suite_files import read_split
from thumbwheel.errors import GateError
from thumbwheel.params import Params

log = logging.getLogger(__name__)

PASS_AT = re.compile(r"pass@(\d+),create_test")


class Suite(Params):
    """A task of the harness on local files.

    `files` maps the task's splits to files; `questions` of them are asked, with `shots` examples before each. `measure`
    is the harness's name of a score and of the filter before it, such as `acc,none` or `exact_match,flexible-extract`.
    `chat` lays the model's chat template around the prompt. Answers end at `max_tokens` where it is given, else where
    the task says. Tasks whose answers are run, HumanEval's, need `programs`; their measure is `pass@k,create_test`.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    task: str
    files: dict[str, str] = Field(min_length=1)
    questions: int = Field(ge=1)
    shots: int = Field(ge=0)
    measure: str = Field(pattern=r"^[^,]+,[^,]+$")
    chat: bool
    max_tokens: int | None = Field(default=None, ge=1)
    programs: Programs | None = None

    @model_validator(mode="after")
    def _draws_from_its_samples(self) -> Self:
        if self.programs and not 1 <= self.k <= self.programs.samples:
            raise ValueError(
                f"programs are measured by 'pass@k,create_test' with k up to programs.samples "
                f"({self.programs.samples}), not '{self.measure}'"
            )
        return self

    @property
    def k(self) -> int:
        """How many programs are drawn for pass@k; 0 where the measure is another."""
        found = PASS_AT.fullmatch(self.measure)
        return int(found[1]) if found else 0


@dataclass(frozen=True)
class SuiteScore:
    """One question of a suite and its score, or why it has none."""

    suite: str
    question: str
    value: float | None
    error: str | None = None


def run_suites(folder: Path, suites: Sequence[Suite], place: Path, seed: int, batch: int) -> list[SuiteScore]:
    """Return the scores of the bundle in `folder` on all suites, whose files are under `place`.

    Raises:
        GateError: a file is missing or unreadable, or the harness does not know the task, split or measure.
        ModelError: the bundle cannot be loaded.
        SandboxError: a suite runs programs, and they cannot be run safely here.
    """
    if not suites:
        return []
    _quiet()
    from lm_eval.models.huggingface import HFLM

    for limits in (suite.programs.limits for suite in suites if suite.programs):
        run_program("", limits)  # asked before anything is generated, which takes long
    with tempfile.TemporaryDirectory() as scratch:
        tasks = {suite.name: make_task(suite, place, Path(scratch)) for suite in suites}
        model, tokenizer = load(folder)
        reader = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch)
        return [one for suite in suites for one in run_suite(reader, suite, tasks[suite.name], seed)]


def make_task(suite: Suite, place: Path, scratch: Path) -> Any:
    """Return the harness's task on our rows: its own description, pointed at files in `scratch` that hold them.

    Raises:
        GateError: the harness has no such task, or it needs a split that `files` lacks, or does not do what is asked.
    """
    from lm_eval.tasks import TaskManager

    known = _harness().task_index.get(suite.task)
    if known is None or known.yaml_path is None:
        near = difflib.get_close_matches(suite.task, _harness().all_subtasks, n=1)
        meant = f", did you mean '{near[0]}'?" if near else "."
        raise GateError(f"benchmark.suites.{suite.name}: lm-evaluation-harness has no task '{suite.task}'{meant}")
    folder = scratch / suite.name
    folder.mkdir(parents=True)
    if suite.task.startswith("ifeval"):
        _count_sentences(scratch / "nltk")
    pointed = {
        **described(suite, known.yaml_path),
        "task": f"thumbwheel_{suite.name}",
        "dataset_path": "parquet",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": written(suite, place, folder), "cache_dir": str(scratch / "cache")},
    }
    (folder / "task.yaml").write_text(yaml.safe_dump(pointed))
    try:
        ours = TaskManager(include_path=str(folder), include_defaults=False)
        return ours.load(str(pointed["task"]))["tasks"][pointed["task"]]
    except (KeyError, ValueError) as error:
        raise GateError(
            f"benchmark.suites.{suite.name}: {suite.task} needs a split that files lacks (it has "
            f"{', '.join(suite.files)}): {error}"
        ) from None


@cache
def _harness() -> Any:
    """Return the harness's own tasks, whose thousands of files are read once."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def described(suite: Suite, path: Path) -> dict[str, Any]:
    """Return what the harness's description in `path` becomes: included as it is, but where programs would be run.

    Raises:
        GateError: `programs` or `max_tokens` are asked of a task that has none, or `programs` is missing.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    task = load_yaml(path, resolve_func=False)
    if (suite.programs is not None) is not bool(task.get("unsafe_code")):
        why = "runs programs and needs 'programs'" if task.get("unsafe_code") else "runs no programs; drop 'programs'"
        raise GateError(f"benchmark.suites.{suite.name}: {suite.task} {why}.")
    if suite.programs and not suite.task.startswith("humaneval"):
        raise GateError(
            f"benchmark.suites.{suite.name}: of the tasks that run programs only HumanEval's is known here."
        )
    found: dict[str, Any] = generating(task, suite.programs) if suite.programs else {"include": str(path)}
    if suite.shots == 0 and task.get("test_split") in suite.files:
        examples = ("training_split", "validation_split", "fewshot_split")
        found |= {name: None for name in examples if task.get(name) not in suite.files}
    if suite.max_tokens is not None:
        if task.get("output_type") != "generate_until":
            raise GateError(f"benchmark.suites.{suite.name}: {suite.task} generates nothing; drop 'max_tokens'.")
        generation = found.get("generation_kwargs", task.get("generation_kwargs", {}))
        found["generation_kwargs"] = {**generation, "max_gen_toks": suite.max_tokens}
    return found


def written(suite: Suite, place: Path, folder: Path) -> dict[str, str]:
    """Write the rows of each split as Parquet into `folder`, and return where."""
    found = {}
    for split, name in suite.files.items():
        path = folder / f"{split}.parquet"
        pq.write_table(pa.Table.from_pylist(read_split(suite.task, place / name)), path)
        found[split] = str(path)
    return found


def run_suite(reader: Any, suite: Suite, task: Any, seed: int) -> list[SuiteScore]:
    """Return the scores of one suite, by question.

    Raises:
        GateError: the task does not report the measure.
    """
    from lm_eval import simple_evaluate

    picked = draw(len(task.eval_docs), suite.questions, f"{seed}:{suite.name}")
    log.info("%s: %d of %d questions", suite.name, len(picked), len(task.eval_docs))
    results = simple_evaluate(
        reader, tasks=[task], samples={task.config.task: picked}, apply_chat_template=suite.chat, bootstrap_iters=0,
        fewshot_as_multiturn=suite.chat, num_fewshot=suite.shots, torch_random_seed=seed,
    )  # fmt: skip
    samples = results["samples"][task.config.task] if results else []
    return solved(suite, suite.programs, samples) if suite.programs else scores(suite, samples, picked)


def solved(suite: Suite, programs: Programs, samples: Sequence[Mapping[str, Any]]) -> list[SuiteScore]:
    """Return pass@k of each problem, by running the programs that were written for it.

    Raises:
        SandboxError: programs cannot be run safely here.
    """
    found, endings = [], Counter[str]()
    for one in sorted(samples, key=lambda sample: int(sample["doc_id"])):
        result = solve(one["doc"], one["resps"][0], "instruct" in suite.task, suite.k, programs.limits)
        found.append(SuiteScore(suite.name, str(one["doc_id"]), result.value))
        endings += result.endings
    log.info("%s: programs %s", suite.name, ", ".join(f"{how} {count}" for how, count in sorted(endings.items())))
    return found


def draw(available: int, wanted: int, key: str) -> list[int]:
    """Return which questions are asked, in their order: a longer draw holds every shorter one."""
    order = sorted(range(available), key=lambda i: hashlib.sha256(f"{key}:{i}".encode()).digest())
    return sorted(order[:wanted])


def scores(suite: Suite, samples: Sequence[Mapping[str, Any]], picked: Sequence[int]) -> list[SuiteScore]:
    """Return the score of each question that was asked; one that the harness lost is an error, not a score.

    Raises:
        GateError: no sample has the measure.
    """
    name, chosen = suite.measure.split(",")
    known = {int(one["doc_id"]): share(one[name]) for one in samples if one.get("filter") == chosen and name in one}
    if samples and not known:
        offered = sorted({f"{m},{one['filter']}" for one in samples for m in one["metrics"]})
        raise GateError(f"benchmark.suites.{suite.name}: no measure '{suite.measure}'; there are {offered}.")
    return [
        SuiteScore(suite.name, str(i), known.get(i), None if i in known else "the harness gave no score")
        for i in picked
    ]


def share(value: Any) -> float:
    """Return a score; of several, such as one for each instruction of a prompt, their mean."""
    return sum(map(float, value)) / len(value) if isinstance(value, list) else float(value)


def _count_sentences(folder: Path) -> None:
    """Let IFEval's checks count sentences without a download, and tell languages the same way each time."""
    from langdetect import DetectorFactory

    offer_sentences(folder)
    DetectorFactory.seed = 0


def _quiet() -> None:
    """Keep the harness from the network and from a page of warnings."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    for name in ("lm_eval", "lm_eval.evaluator", "lm_eval.tasks", "lm_eval.models"):
        logging.getLogger(name).setLevel(logging.ERROR)
