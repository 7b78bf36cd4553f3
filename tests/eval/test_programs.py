"""Generated programs are scored by running them, and a program passes by passing its tests alone."""

from __future__ import annotations

import gzip
import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.public_data import AbsentDataError, public_data
from eval.programs import Programs, pass_at_k, solve
from eval.sandbox import Limits, run_program
from eval.suites import Suite, described, make_task, solved
from thumbwheel.errors import GateError, SandboxError

LIMITS = Limits(cpu_seconds=2, wall_seconds=60, memory_mib=256, processes=2, files=24, output_kib=16)
PROBLEM = {
    "task_id": "Ours/0",
    "prompt": 'def twice(number: int) -> int:\n    """Return the number, doubled."""\n',
    "entry_point": "twice",
    "canonical_solution": "    return 2 * number\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2\n",
}
SUITE: dict[str, Any] = {
    "name": "code",
    "task": "humaneval",
    "files": {"test": "problems.jsonl"},
    "questions": 1,
    "shots": 0,
    "measure": "pass@1,create_test",
    "chat": False,
    "programs": {"samples": 2, "temperature": 0.8, "limits": LIMITS.model_dump()},
}


@pytest.fixture
def _walls() -> None:
    try:
        run_program("", LIMITS)
    except SandboxError as error:
        pytest.skip(str(error))


@given(samples=st.integers(1, 8), passed=st.integers(0, 8), k=st.integers(1, 8))
def test_pass_at_k_is_the_share_of_draws_that_hold_one_that_passed(samples: int, passed: int, k: int) -> None:
    passed, k = min(passed, samples), min(k, samples)
    draws = list(combinations([True] * passed + [False] * (samples - passed), k))
    assert math.isclose(pass_at_k(samples, passed, k), sum(map(any, draws)) / len(draws))


def test_fewer_samples_than_are_drawn_are_refused() -> None:
    with pytest.raises(ValueError, match="pass@3 needs 3 samples or more; there are 2"):
        pass_at_k(2, 1, 3)


@pytest.mark.usefixtures("_walls")
@pytest.mark.parametrize(
    ("code", "how"),
    [
        (PROBLEM["canonical_solution"], "passed"),
        ("    return number + 2\n", "failed"),
        ("    raise SystemExit(0)\n", "failed"),
        ("    import os; os._exit(0)\n", "failed"),
        ("    return 2 *\n", "failed"),
        ("    print('\\0', end='')\n    return 2 * number\n", "passed"),
        ("    import os; os.kill(os.getpid(), 9)\n", "killed"),
    ],
)
def test_only_what_passes_its_tests_passes(code: str, how: str) -> None:
    found = solve(PROBLEM, [code], fenced=False, k=1, limits=LIMITS)
    assert dict(found.endings) == {how: 1}
    assert found.value == float(how == "passed")


@pytest.mark.usefixtures("_walls")
def test_a_suite_of_programs_gives_each_problem_its_pass_at_k() -> None:
    right, wrong = "    return 2 * number\n```\nThat is it.", "    return 1\n"
    samples = [
        {"doc_id": 1, "doc": PROBLEM, "resps": [[right, wrong]]},
        {"doc_id": 0, "doc": PROBLEM, "resps": [[wrong] * 2]},
    ]
    fenced = Suite(**SUITE | {"task": "humaneval_instruct"})
    assert fenced.programs is not None
    found = solved(fenced, fenced.programs, samples)
    assert [(one.question, one.value, one.error) for one in found] == [("0", 0.0, None), ("1", 0.5, None)]


def test_a_task_is_asked_as_the_harness_asks_it_and_scored_by_nothing_of_its(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text(json.dumps(PROBLEM) + "\n")
    task = make_task(Suite(**SUITE | {"max_tokens": 64}), tmp_path, tmp_path / "scratch")
    assert task.doc_to_text(task.eval_docs[0]) == PROBLEM["prompt"]
    assert task.config.generation_kwargs["until"] == ["\nclass", "\ndef", "\n#", "\nif", "\nprint"]
    assert (task.config.generation_kwargs["max_gen_toks"], task.config.repeats) == (64, 2)
    assert list(task._metric_fn_list) == ["bypass"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"programs": None}, "humaneval runs programs and needs 'programs'"),
        ({"task": "gsm8k"}, "gsm8k runs no programs; drop 'programs'"),
        ({"task": "mbpp"}, "of the tasks that run programs only HumanEval's is known here"),
        ({"task": "mmlu_law", "programs": None, "max_tokens": 9}, "generates nothing; drop 'max_tokens'"),
    ],
)
def test_what_a_task_cannot_do_is_refused(changes: dict[str, Any], said: str) -> None:
    from lm_eval import tasks

    suite = Suite(**SUITE | changes)
    home, task = Path(tasks.__file__).parent, suite.task
    place = home / task / f"{task}.yaml"
    if task == "mmlu_law":
        place = home / "mmlu" / "default" / "mmlu_professional_law.yaml"
    if task == "gsm8k":
        place = home / "gsm8k" / "gsm8k.yaml"
    with pytest.raises(GateError, match=said):
        described(suite, place)


@pytest.mark.parametrize("measure", ["pass@3,create_test", "pass@0,create_test", "acc,none"])
def test_a_measure_that_the_samples_cannot_give_is_refused_when_it_is_read(measure: str) -> None:
    with pytest.raises(ValueError, match=rf"with k up to programs.samples \(2\), not '{measure}'"):
        Suite(**SUITE | {"measure": measure})


def test_programs_may_not_be_run_without_limits() -> None:
    with pytest.raises(ValueError, match="limits"):
        Programs.model_validate({"samples": 1, "temperature": 0})


@pytest.mark.usefixtures("_walls")
def test_humaneval_s_own_solutions_pass() -> None:
    try:
        path = public_data("benchmarks/humaneval") / "HumanEval.jsonl.gz"
    except AbsentDataError as error:
        pytest.skip(str(error))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        problems = [json.loads(line) for line in file][::16]
    solutions = {one["task_id"]: solve(one, [one["canonical_solution"]], False, 1, LIMITS).value for one in problems}
    assert set(solutions.values()) == {1.0}, solutions
