"""Score generated programs by running them: pass@k of HumanEval (Chen et al. 2021, arXiv:2107.03374), in the sandbox.

Prompts and stop words are those of lm-evaluation-harness; its own scoring runs the programs in this very process, so it
is never loaded.
"""

from __future__ import annotations

import math
import os
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from eval.sandbox import Limits, run_program
from thumbwheel.params import Params

FENCE = "```"
Row = Mapping[str, Any]


class Programs(Params):
    """How programs are written and run: `samples` of each at a `temperature`, 0 for the likeliest one."""

    samples: int = Field(ge=1)
    temperature: float = Field(ge=0)
    limits: Limits


@dataclass(frozen=True)
class Solved:
    """One problem: the share of draws of k programs with one that passes, and how its programs ended."""

    value: float
    endings: Counter[str]


def generating(task: Row, programs: Programs) -> dict[str, Any]:
    """Return a task's description with all that writes programs and nothing that runs them."""
    kept = ("output_type", "test_split", "doc_to_text", "gen_prefix", "num_fewshot", "metadata")
    drawn: dict[str, Any] = {"do_sample": programs.temperature > 0, "temperature": programs.temperature}
    return {
        **{name: task[name] for name in kept if name in task},
        "doc_to_target": "",
        "repeats": programs.samples,
        "generation_kwargs": {**task["generation_kwargs"], **drawn},
        "metric_list": [{"metric": "bypass"}],
    }


def solve(problem: Row, completions: Sequence[str], fenced: bool, k: int, limits: Limits) -> Solved:
    """Run each completion of a problem with its tests; `fenced`: code ends where a Markdown fence closes.

    Raises:
        SandboxError: programs cannot be run safely here; none was.
    """

    def ended(completion: str) -> str:
        mark = secrets.token_hex(16)
        code = completion.split(FENCE)[0] if fenced else completion
        ending = run_program(whole_program(problem, code, mark), limits)
        if ending.status is None:
            return "out of time"
        if ending.status == 0 and ending.output.rstrip().endswith(mark):
            return "passed"
        return "failed" if ending.status >= 0 else "killed"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        endings = Counter(pool.map(ended, completions))
    return Solved(pass_at_k(len(completions), endings["passed"], k), endings)


def whole_program(problem: Row, code: str, mark: str) -> str:
    """Return a problem's program with its tests, which prints `mark` after the last one.

    Ending is not passing: a program may exit before its tests are reached.
    """
    return "\n".join(
        (problem["prompt"] + code, problem["test"], f"check({problem['entry_point']})", f"print({mark!r})", "")
    )


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Return the share of draws of `k` of the samples that hold one that passed: the unbiased estimate of Chen et al.

    Raises:
        ValueError: there are fewer samples than `k`.
    """
    if samples < k:
        raise ValueError(f"pass@{k} needs {k} samples or more; there are {samples}.")
    return 1 - math.comb(samples - passed, k) / math.comb(samples, k)
