"""What the suites say of a model on public files, and what walling in a program costs.

    python -m benchmarks.suites [FOLDER] [--questions N] [--max-tokens N] [--only SUITE]

`FOLDER` is a bundle, `models/base` unless named. Intervals are 95 % (Wilson). HumanEval's own solutions are run first:
all of them have to pass, and programs that only exit must not. The peer of the sandbox is a bare interpreter.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, markdown
from benchmarks.public_data import AbsentDataError, public_data
from eval.programs import solve
from eval.sandbox import Limits, interpreter, run_program
from eval.statistics import wilson
from eval.suites import Suite, run_suites
from thumbwheel.settings import settings

LIMITS = Limits(cpu_seconds=5, wall_seconds=20, memory_mib=512, processes=4, files=32, output_kib=64)
SEED = 17
CONFIDENCE = 0.95
REPEATS = 20


def suites(questions: int, max_tokens: int) -> list[Suite]:
    """Return one suite of each kind that generates, on the files as they were published."""
    asked: dict[str, Any] = {"questions": questions, "shots": 0, "max_tokens": max_tokens, "chat": True}
    programs = {"samples": 1, "temperature": 0.0, "limits": LIMITS}
    strict = {"name": "ifeval", "measure": "prompt_level_strict_acc,none"}
    code = {"name": "humaneval", "measure": "pass@1,create_test", "programs": programs}
    return [
        Suite(task="ifeval", files={"train": "ifeval/input_data.jsonl"}, **strict, **asked),
        Suite(task="humaneval_instruct", files={"test": "humaneval/HumanEval.jsonl.gz"}, **code, **asked),
    ]


def suite_rows(folder: Path, asked: list[Suite], place: Path) -> list[list[str]]:
    """Return, per suite, the mean score and its interval, and how long it took."""
    rows = []
    for suite in asked:
        began = time.monotonic()
        found = run_suites(folder, [suite], place, SEED, 8)
        right = sum(int(one.value or 0) for one in found if one.value is not None)
        measured = sum(one.value is not None for one in found)
        share = wilson(right, measured, CONFIDENCE)
        interval = f"{share.mean:.3f} ({share.low:.3f} to {share.high:.3f})"
        rows.append([suite.name, suite.measure, str(measured), interval, f"{time.monotonic() - began:.0f} s"])
    return rows


def solution_rows(problems: list[dict[str, Any]]) -> list[list[str]]:
    """Return how HumanEval's own solutions end, and programs that exit before their tests."""
    rows = []
    for name, code in (("its own solutions", None), ("a program that exits with 0", "    raise SystemExit(0)\n")):
        began = time.monotonic()
        solved = [solve(one, [code or one["canonical_solution"]], False, 1, LIMITS) for one in problems]
        each = (time.monotonic() - began) / len(problems)
        rows.append([name, str(len(problems)), str(sum(one.value == 1.0 for one in solved)), f"{each * 1000:.0f} ms"])
    return rows


def cost_rows() -> list[list[str]]:
    """Return what an empty program takes in the sandbox and without it, one after the other."""
    bare = [str(interpreter()), "-I", "-S", "-B", "-c", ""]
    inside, outside = [], []
    for _ in range(REPEATS):
        inside.append(_seconds(lambda: run_program("", LIMITS)))
        outside.append(_seconds(lambda: subprocess.run(bare, check=True)))
    best, peer = min(inside) * 1000, min(outside) * 1000
    return [["an empty program", f"{best:.0f} ms", f"{peer:.0f} ms", f"{best / peer:.1f}"]]


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, help="a bundle; models/base unless named")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--only", metavar="SUITE", help="one suite, and no measure of the sandbox")
    options = parser.parse_args()
    print(machine(), "\n")
    try:
        place = public_data("benchmarks")
    except AbsentDataError as error:
        print(f"left out: {error}")
        return
    if not options.only:
        print_sandbox(place)
    asked = [one for one in suites(options.questions, options.max_tokens) if options.only in (None, one.name)]
    rows = suite_rows(options.folder or settings().models / "base", asked, place)
    print(markdown(("suite", "measure", "questions", "score", "took"), rows))


def print_sandbox(place: Path) -> None:
    """Print what the sandbox costs, and how HumanEval's own solutions end in it."""
    print(markdown(("sandbox", "walled in", "bare interpreter", "ratio"), cost_rows()), "\n")
    with gzip.open(place / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        problems = [json.loads(line) for line in file]
    print(markdown(("HumanEval", "programs", "passed", "each"), solution_rows(problems)), "\n", flush=True)


if __name__ == "__main__":
    main()
