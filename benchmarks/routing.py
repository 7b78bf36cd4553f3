"""Whether a request's complexity says which model should answer it, and how requests of many kinds are classed.

    THUMBWHEEL_PUBLIC_DATA=… python -m benchmarks.routing

The first table routes MT-Bench between Mixtral 8x7B and GPT-4 by RouteLLM's published scores of both (grades of 1 to 10
by GPT-4; Ong et al. 2024, arXiv:2406.18665). `APGR` is theirs: the share of the gap between the two models that is
recovered when the most complex requests go to the strong one, averaged over all shares of requests; chance gives 0.5.
Intervals are 95 %, by bootstrap over questions.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.measure import markdown
from benchmarks.public_data import AbsentDataError, public_data
from serving.models.complexity import complexity, kind_of
from serving.options import load_options
from thumbwheel.settings import REPOSITORY

STRONG, WEAK = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"
RESAMPLES = 2000
OPTIONS = load_options().models.complexity


def main() -> None:
    print(
        markdown(["MT-Bench", "questions", "GPT-4", "Mixtral", "APGR by complexity", "by length alone"], [*by_turn()])
    )
    print()
    rows = [[name, str(len(texts)), *shares(texts)] for name, texts in sets()]
    print(markdown(["requests", "number", "simple", "between", "complex", "median"], rows))


def by_turn() -> Iterator[list[str]]:
    """Yield a row for each of MT-Bench's two turns."""
    folder = public_data("judge/mt_bench")
    turns = {row["question_id"]: row["turns"] for row in read(folder / "mt_bench_question.jsonl")}
    grades = {(r["question_id"], r["model"], r["turn"]): r["score"] for r in read(folder / "routellm_judgements.jsonl")}
    for turn in (1, 2):
        asked = [number for number in turns if (number, STRONG, turn) in grades and (number, WEAK, turn) in grades]
        strong, weak = (np.array([grades[n, model, turn] for n in asked], float) for model in (STRONG, WEAK))
        known = (strong > 0) & (weak > 0)
        complex_ = np.array([of_talk(turns[n][:turn]) for n in asked])[known]
        length = np.array([float(len(turns[n][turn - 1])) for n in asked])[known]
        strong, weak = strong[known], weak[known]
        found = [with_interval(strong, weak, order) for order in (complex_, length)]
        yield [f"turn {turn}", str(len(strong)), f"{strong.mean():.2f}", f"{weak.mean():.2f}", *found]


def apgr(strong: np.ndarray, weak: np.ndarray, order: np.ndarray) -> float:
    """Return the share of the gap recovered, averaged over all shares of requests that go to the strong model.

    Requests of one complexity go together, each by its part. All arrays have shape (questions,).
    """
    gain = strong - weak
    by_value = {value: gain[order == value].mean() for value in np.unique(order)}
    sorted_gain = np.array([by_value[value] for value in -np.sort(-order)])
    recovered = np.concatenate([[0.0], np.cumsum(sorted_gain)]) / gain.sum()
    return float(np.trapezoid(recovered, dx=1 / len(gain)))


def with_interval(strong: np.ndarray, weak: np.ndarray, order: np.ndarray) -> str:
    draws = np.random.default_rng(0).integers(0, len(strong), (RESAMPLES, len(strong)))
    again = [apgr(strong[d], weak[d], order[d]) for d in draws if (strong[d] - weak[d]).sum() > 0]
    low, high = np.percentile(again, [2.5, 97.5])
    return f"{apgr(strong, weak, order):.2f} ({low:.2f} to {high:.2f})"


def of_talk(said: Sequence[str]) -> float:
    """Return the complexity of a conversation's last message; replies do not matter to it."""
    return complexity([{"role": "user", "content": text} for text in said], OPTIONS)


def shares(texts: Sequence[str]) -> list[str]:
    values = [of_talk([text]) for text in texts]
    kinds = [kind_of(value, OPTIONS) for value in values]
    parts = [f"{kinds.count(kind) / len(kinds):.0%}" for kind in ("simple", None, "complex")]
    return [*parts, f"{np.median(values):.2f}"]


def sets() -> Iterator[tuple[str, list[str]]]:
    """Yield the sets of requests by name; what is not on the machine is left out, and said."""
    yield "the seed's questions", [row["question"] for row in read(REPOSITORY / "data/seed/eval/questions.jsonl")]
    for name, load in SETS.items():
        try:
            yield name, load()
        except AbsentDataError as error:
            print(f"left out {name}: {error}")


def persona_chat() -> list[str]:
    path = next(public_data("chat/synthetic_persona_chat").glob("*.csv"))
    with path.open(newline="") as file:
        rows = [list(row.values())[-1] for row in csv.DictReader(file)]
    return [text.splitlines()[0].partition(":")[2].strip() for text in rows[:1000] if text]


def mt_bench(categories: Sequence[str]) -> Callable[[], list[str]]:
    def load() -> list[str]:
        rows = read(public_data("judge/mt_bench") / "mt_bench_question.jsonl")
        return [row["turns"][0] for row in rows if row["category"] in categories]

    return load


def human_eval() -> list[str]:
    with gzip.open(public_data("benchmarks/humaneval") / "HumanEval.jsonl.gz", "rt") as file:
        return [f"Complete this function:\n\n{json.loads(line)['prompt']}" for line in file]


def dolly() -> list[str]:
    rows = read(public_data("chat/dolly_hhrlhf_small") / "dolly_hhrlhf_train_small.jsonl")
    prompts = [row["prompt"].partition("### Instruction:\n")[2].partition("\n\n### Response:")[0] for row in rows]
    return [prompt for prompt in prompts if prompt][:1000]


SETS: dict[str, Callable[[], list[str]]] = {
    "first words of persona chats": persona_chat,
    "Dolly": dolly,
    "MT-Bench: writing, roleplay, humanities, stem": mt_bench(("writing", "roleplay", "humanities", "stem")),
    "MT-Bench: math, coding, reasoning, extraction": mt_bench(("math", "coding", "reasoning", "extraction")),
    "GSM8K": lambda: [row["question"] for row in read(public_data("benchmarks/gsm8k") / "test.jsonl")],
    "IFEval": lambda: [row["prompt"] for row in read(public_data("benchmarks/ifeval") / "input_data.jsonl")],
    "HumanEval": human_eval,
}


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
