"""How many engines, pods and nodes a rate of requests takes, and what they cost, with the arithmetic shown.

    python -m benchmarks.capacity            # the page that benchmarks/capacity.md holds

What is measured and what is assumed stands in benchmarks/capacity.yaml; `python -m benchmarks.engine` holds the
engine's model to vLLM.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.engine_model import Engine, Traffic, most_a_second, p99_ms
from benchmarks.measure import markdown

FIGURES = Path(__file__).with_suffix(".yaml")
RATES = (5_000, 300_000)
HOURS = 730
"""Of a month."""
SENTENCE = 21
"""Tokens of a reply's first sentence, as the guard cuts it, on average: 20 in Dolly's replies, 21 in OASST2's."""
SOURCES = (
    "By `python -m benchmarks.capacity`. The chat's figures were measured; the engine's are those of a model of 8 "
    "billion weights in FP8 on one H100 by the bandwidth and arithmetic that it is sold with: "
    "`python -m benchmarks.engine` measures them, and was not run on a GPU yet. "
    "Change [capacity.yaml](capacity.yaml) to yours and run it again."
)
CELLS = (
    "At 300,000 requests a second this is no longer one cluster: split it by users into cells of the first column's "
    "size, each with stores of its own; nothing is shared between users but weights, documents and keys."
)

Figures = Mapping[str, Any]


def main() -> None:
    figures = yaml.safe_load(FIGURES.read_text())
    print("\n".join(page(figures["measured"], figures["assumed"])))


def engine_of(figures: Figures, prompt: float, reply: float) -> Engine:
    """Return the model of an engine by how fast its memory and its arithmetic are."""
    bytes_ms = figures["memory_tb_s"] * 1e9
    return Engine(
        step=figures["overhead_ms"] + figures["weights_gb"] * 1e9 / bytes_ms,
        token=2 * figures["weights_gb"] * 1e9 / (figures["tflops"] * 1e9),
        stream=figures["kv_kb_a_token"] * 1024 * (prompt + reply / 2) / bytes_ms,
        budget=figures["step_tokens"],
        streams=figures["streams"],
    )


def page(measured: Figures, assumed: Figures) -> list[str]:
    """Return the lines of the page."""
    traffic, targets = assumed["traffic"], assumed["targets"]
    engine = engine_of(assumed["engine"], traffic["prompt_tokens"], traffic["reply_tokens"])
    read = Traffic(traffic["prompt_tokens"] * (1 - traffic["cached_share"]), traffic["reply_tokens"])
    limit = targets["first_token_ms"] - targets["others_ms"]
    words = traffic["first_tokens"]
    at_once, carried = most_a_second(engine, read, limit), most_a_second(engine, read, limit, words=words)
    columns = [needs(rate, carried, measured, assumed) for rate in RATES]
    rows = [[name, columns[0][name][0], *(column[name][1] for column in columns)] for name in columns[0]]
    heading = ("what", "reckoned so", *(f"{rate:,}/s" for rate in RATES))
    late = p99_ms(engine, read, carried, 120, SENTENCE)
    simulated = (
        f"A step of the engine takes {engine.step:.1f} ms, {1000 * engine.token:.0f} µs a token and "
        f"{1000 * engine.stream:.0f} µs an answer that is being written. Simulated with {read.prompt:.0f} tokens of a "
        f"prompt to read and {read.reply:.0f} to write, 99 of 100 users see first words within {limit} ms, which "
        f"leaves {targets['others_ms']} of the {targets['first_token_ms']} to all else, up to **{carried:.0f} requests "
        f"a second and engine**. First words are {words} tokens on average, for the guard judges a piece before it "
        f"leaves (`guard.output.first_characters`). Where they go as they come (`guard.output: null`) it is "
        f"{at_once:.0f}; where whole sentences are waited for, {SENTENCE} tokens, 99 of 100 take up to {late:.0f} ms "
        "at that rate."
    )
    return [
        "# Capacity",
        "",
        _wrapped(SOURCES),
        "",
        _wrapped(simulated),
        "",
        markdown(heading, rows),
        "",
        _wrapped(CELLS),
    ]


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 118, break_on_hyphens=False))


def needs(rate: int, carried: float, measured: Figures, assumed: Figures) -> dict[str, tuple[str, str]]:
    """Return what a rate takes, by name: how it is reckoned, and how much."""
    traffic, targets, price = assumed["traffic"], assumed["targets"], assumed["price"]
    milvus, kafka, history = (assumed[name] for name in ("milvus", "kafka", "history"))
    busy, asked = targets["busy"], rate * (1 - traffic["cache_hits"])
    engines = math.ceil(asked / carried)
    cpu = measured["chat_cpu_ms"] + measured["retrieval_cpu_ms"]
    pods = math.ceil(rate * cpu / 1000 / busy)
    shards = math.ceil(rate * measured["redis_cpu_us"] / 1e6 / busy)
    nodes = max(milvus["replicas_at_least"], math.ceil(asked / milvus["searches_a_second"] / busy))
    events = rate * traffic["thumbs"]
    partitions = max(3, math.ceil(events * measured["event_bytes"] / 1e6 / kafka["partition_mb_s"] / busy))
    stored = rate * 86_400 / 3 * measured["reply_bytes"] * history["days"] * history["copies"] / 1e12
    rows = max(
        math.ceil(stored / history["node_tb"]), math.ceil(rate * history["copies"] / history["writes_a_second"] / busy)
    )
    stores = shards + nodes + rows + 3
    hourly = engines * price["gpu_hour"] + pods * price["core_hour"] + stores * price["store_node_hour"]
    return {
        "engines (GPUs)": (f"requests × {1 - traffic['cache_hits']:.1f} not cached / {carried:.0f}", f"{engines:,}"),
        "chat pods (a core each)": (f"requests × {cpu:.1f} ms / {busy}", f"{pods:,}"),
        "Redis shards (a core each)": (f"requests × {measured['redis_cpu_us']} µs / {busy}", f"{shards:,}"),
        "Milvus query nodes": (f"searches / {milvus['searches_a_second']} / {busy}", f"{nodes:,}"),
        "Kafka partitions": (
            f"{traffic['thumbs']:.0%} × {measured['event_bytes']} B / {kafka['partition_mb_s']} MB/s",
            f"{partitions:,}",
        ),
        "history, TB": (
            f"a third of the peak all day × {measured['reply_bytes']} B × {history['days']} days × 3",
            f"{stored:,.0f}",
        ),
        "Cassandra nodes": (
            f"TB / {history['node_tb']}, or writes / {history['writes_a_second']:,} / {busy}",
            f"{rows:,}",
        ),
        "dollars an hour": (
            f"GPU {price['gpu_hour']}, core {price['core_hour']}, store {price['store_node_hour']}",
            f"{hourly:,.0f}",
        ),
        "dollars a million requests": ("at the peak all the hour", f"{hourly / rate / 3600 * 1e6:,.0f}"),
        "dollars a month": (f"{HOURS} hours, as large at night", f"{hourly * HOURS:,.0f}"),
    }


if __name__ == "__main__":
    main()
