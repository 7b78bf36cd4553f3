"""What an engine's steps cost, and how many requests a second it carries in time, beside what its model says.

    python -m benchmarks.engine            # on the CPU, after make run: the base model
    THUMBWHEEL_ACCELERATOR=cuda python -m benchmarks.engine w8a8 bf16

On a GPU it is a model of the shape of the recipe 8b-lora with random weights, made into a bundle of each format by the
stage `quantize`, and asked as benchmarks/capacity.yaml has it: prompts and replies of varied lengths, a system message
that all share. Three loads of one and of many at once give the costs of a step, a token and a running answer, from
which the model says what is carried; then real rates rise from half of that until the first tokens come too late.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import yaml

from benchmarks.engine_model import Engine, Traffic, first_token_ms, most_a_second
from benchmarks.measure import ROOT, machine, markdown
from benchmarks.training_estimate import random_weights
from stages import quantize
from stages.quantize import QuantizeParams
from stages.recipe import load_recipe
from thumbwheel.engine import running_engine
from thumbwheel.params import load_params
from thumbwheel.settings import settings

COLUMNS = ("requests a second", "answers", "faults", "first token p50", "p99, ms", "model's p50", "p99, ms", "cores")
LOGS = ROOT / ".thumbwheel" / "benchmarks"
WORDS = 400
"""Of the long prompt by which is measured what a prompt's token takes."""
RISE, TRIES = 1.25, 6


@dataclass(frozen=True)
class Asked:
    """What the engine is asked for: tokens of a prompt, how many of them all prompts share, and of a reply."""

    prompt: float
    shared: float
    reply: int
    limit_ms: float
    many: int
    """Answers at once, to measure what one more costs."""
    seconds: float
    """Of each load."""
    budget: int
    streams: int


def main() -> None:
    if sys.argv[1:2] == ["--make"]:
        make(sys.argv[2], Path(sys.argv[3]))
        return
    print(machine(), flush=True)
    gpu = settings().accelerator == "cuda"
    asked, formats = (on_a_gpu(), sys.argv[1:] or ["w8a8"]) if gpu else (on_the_cpu(), ["bf16"])
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        for name in formats:
            model = random_bundle(Path(folder), name) if gpu else settings().models / "base"
            print(f"\n{name}\n", *measured(model, asked, LOGS / f"engine-{name}.log"), sep="\n", flush=True)


def on_the_cpu() -> Asked:
    """Return what the small model on the CPU is asked."""
    return Asked(prompt=0, shared=0, reply=32, limit_ms=1000, many=8, seconds=30, budget=2048, streams=32)


def on_a_gpu() -> Asked:
    """Return what the plan of capacity asks, and tell the engine to take as many streams and tokens as it says."""
    figures = yaml.safe_load((ROOT / "benchmarks" / "capacity.yaml").read_text())["assumed"]
    traffic, engine, targets = figures["traffic"], figures["engine"], figures["targets"]
    more = f"--max-num-seqs {engine['streams']} --max-num-batched-tokens {engine['step_tokens']}"
    os.environ["THUMBWHEEL_ENGINE_ARGUMENTS"] = f"{more} {settings().engine_arguments}"
    settings.cache_clear()
    return Asked(
        prompt=traffic["prompt_tokens"],
        shared=traffic["prompt_tokens"] * traffic["cached_share"],
        reply=traffic["reply_tokens"],
        limit_ms=targets["first_token_ms"] - targets["others_ms"],
        many=64,
        seconds=15,
        budget=engine["step_tokens"],
        streams=engine["streams"],
    )


def random_bundle(folder: Path, name: str) -> Path:
    """Return a bundle of a format, made in a process of its own, which takes the GPU's memory with it when it ends."""
    subprocess.run([sys.executable, "-m", "benchmarks.engine", "--make", name, str(folder)], cwd=ROOT, check=True)
    return folder / "models" / "served"


def make(name: str, folder: Path) -> None:
    """Make a bundle as `quantize` does, of a model with random weights that is made on first use."""
    base = folder / "models" / "base"
    if not base.exists():
        base.mkdir(parents=True)
        shape = load_recipe("8b-lora").model
        random_weights(shape, base)
        name_all_tokens(base / "tokenizer.json", shape.vocabulary)
    began = time.monotonic()
    params = load_params("quantize", QuantizeParams).model_copy(update={"format": name, "calibration_rows": 0})
    facts = quantize.build(base.parent, [], params)
    print(f"{name}: {facts['bytes_after'] / 1e9:.2f} GB, made in {time.monotonic() - began:.0f} s", flush=True)


def name_all_tokens(path: Path, size: int) -> None:
    """Give a name to every token that a model can write and its tokenizer lacks, so that each is seen when it comes."""
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    known = {*vocabulary.values(), *(one["id"] for one in tokenizer["added_tokens"])}
    vocabulary |= {f"Token{i}": i for i in range(size) if i not in known}
    path.write_text(json.dumps(tokenizer))


def measured(model: Path, asked: Asked, log: Path) -> list[str]:
    """Return what an engine's steps cost, in words, and a table of rates."""
    with running_engine(model, "model", 4096, log) as url:

        def loaded(**more: Any) -> dict[str, float]:
            load = {"url": f"{url}/chat/completions", "model": "model", "stream": True, "max_tokens": asked.reply}
            load |= {"seconds": asked.seconds, "exact": True} | more
            command = [sys.executable, "-m", "benchmarks.serving_load", json.dumps(load)]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
            return dict(json.loads(done.stdout))

        loaded(streams=asked.many, seconds=8, words=30)  # warm
        one, many, long = loaded(streams=1), loaded(streams=asked.many), loaded(streams=1, words=WORDS)
        token = max(1e-3, (long["first_p50"] - one["first_p50"]) / (long["prompt"] - one["prompt"]))
        stream = max(0.0, (pause(many) - pause(one)) / (asked.many - 1) - token)
        engine = Engine(max(0.1, pause(one) - token - stream), token, stream, asked.budget, asked.streams)
        a_word = (long["prompt"] - one["prompt"]) / WORDS
        unique = asked.prompt - asked.shared if asked.prompt else one["prompt"]
        words = max(0, round((unique - one["prompt"]) / a_word))
        load = {"words": words, "shared": round(asked.shared / a_word), "varied": bool(asked.prompt)}
        traffic = Traffic(unique, asked.reply)
        carried = most_a_second(engine, traffic, asked.limit_ms, 60)
        rows = [row(rate, found, engine, traffic) for rate, found in climb(carried / 2, asked, load, loaded)]
    alone = f"alone a first token takes {one['first_p50']:.1f} ms, and of {WORDS} words more {long['first_p50']:.1f}"
    return [
        f"A step takes {engine.step:.2f} ms, a token {1000 * token:.1f} µs, a running answer {1000 * stream:.1f} µs; "
        f"{alone}; {asked.many} at once write {many['rate'] * many['reply']:,.0f} tokens a second.",
        f"By the model {carried:.1f} requests a second have 99 of 100 first tokens within {asked.limit_ms:.0f} ms.",
        "",
        markdown(COLUMNS, rows),
    ]


def climb(rate: float, asked: Asked, load: Mapping[str, Any], loaded: Any) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield rates that rise until the first tokens come too late, or fall from the first until they come in time."""
    step = 0.0
    for _ in range(TRIES):
        with cores() as used:
            found = cast(dict[str, float], loaded(rate=rate, **load))
        yield rate, found | {"cores": used[0]}
        wanted = RISE if found["first_p99"] <= asked.limit_ms and not found["faults"] else 1 / RISE
        if step and wanted != step:
            return
        step, rate = wanted, rate * wanted


def row(rate: float, found: Mapping[str, float], engine: Engine, traffic: Traffic) -> list[str]:
    """Return a line of the table: what came, and what the model says would."""
    said = sorted(first_token_ms(engine, traffic, rate, 120))
    figures = (found["first_p50"], found["first_p99"], said[len(said) // 2], said[int(0.99 * len(said))])
    head = [f"{rate:.1f}", f"{found['answers']:.0f}", f"{found['faults']:.0f}"]
    return [*head, *(f"{one:.0f}" for one in figures), f"{found['cores']:.1f}"]


def pause(said: Mapping[str, float]) -> float:
    """Return the milliseconds between two words of an answer."""
    return (said["whole_p50"] - said["first_p50"]) / (said["reply"] - 1)


@contextmanager
def cores() -> Iterator[list[float]]:
    """Yield a list that holds, after the `with` block, how many cores the engine kept busy in it, the load left out."""
    found: list[float] = []
    began, before = time.monotonic(), spent()
    yield found
    found.append((spent() - before) / (time.monotonic() - began))


def spent() -> float:
    """Return the CPU-seconds of all running processes that descend from this one."""
    return sum(sum(one.cpu_times()[:2]) for one in psutil.Process().children(recursive=True))


if __name__ == "__main__":
    main()
