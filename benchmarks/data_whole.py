"""The whole data half over 100,000 conversations: what each stage costs, and where the time goes.

    python -m benchmarks.data_whole [CONVERSATIONS]

Real conversations, filled up with lightly reworded copies of themselves; the stages run as in a turn, without names
(NER) and without the language model's scores. The peers' chain is their measured cost a row, times the same rows.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import ROOT, Cost, machine, markdown, measure
from benchmarks.public_data import public_data

CONVERSATIONS, SEED = 100_000, 5
STAGES = ("ingest", "pose", "dedup", "scrub", "grade", "split")
RUN = """
import json, resource, sys, time
def cpu(): return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
began = cpu()
import importlib
if {stage!r} == "ingest":
    from stages.observe import observed_questions, observed_sources
    from thumbwheel.lake import write_json
    from thumbwheel.settings import settings
    write_json(settings().inputs / "sources.json", {{"sources": observed_sources()}})
    write_json(settings().inputs / "questions.json", {{"sets": observed_questions()}})
if {stage!r} == "scrub":
    from thumbwheel.lake import Pin, write_pin, write_table
    from thumbwheel.records import FEEDBACK, PREFERENCE, to_table
    none = {{"preferences": to_table([], PREFERENCE), "unpaired": to_table([], FEEDBACK)}}
    write_pin(Pin(stage="pairs", tables={{name: write_table(f"no_{{name}}", rows) for name, rows in none.items()}}))
importlib.import_module("stages.{stage}").main()
pin = json.loads((__import__("thumbwheel.settings").settings.settings().pins / "{stage}.json").read_text())
rows = {{name: table["rows"] for name, table in pin["tables"].items()}}
print(json.dumps({{"work_cpu": cpu() - began, "rows": rows, "rejections": pin["rejections"]}}))
"""


def conversations() -> Iterator[list[dict[str, str]]]:
    """Yield the messages of every real conversation, in the order of the sets."""
    for line in (public_data("chat/p3_50k") / "p3_50k.jsonl").open():
        row = json.loads(line)
        yield _asked(row["prompt"], row.get("completion") or row.get("response") or "")
    for path in sorted(public_data("chat/gpteacher").glob("*.json")):
        for row in json.loads(path.read_text()):
            asked = f"{row['instruction']}\n\n{row.get('input') or ''}".strip()
            yield _asked(asked, row.get("response") or row.get("output") or "")
    for line in (public_data("chat/sgd_pii_dev") / "dialogues.jsonl").open():
        yield [{"role": turn["role"], "content": turn["text"]} for turn in json.loads(line)["turns"]]


def write_corpus(path: Path, count: int) -> None:
    """Write `count` conversations as JSONL: the real ones, then copies of which a word in twenty is doubled."""
    rng = random.Random(SEED)
    real = [messages for messages in conversations() if all(m["content"] for m in messages)][:count]
    with path.open("w") as file:
        for messages in [*real, *(_reworded(rng.choice(real), rng) for _ in range(count - len(real)))]:
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def prepare(root: Path, count: int) -> None:
    """Make a root with the parameters, the seed's questions and the corpus."""
    (root / "data").mkdir()
    (root / "data" / "seed").symlink_to(ROOT / "data" / "seed")
    write_corpus(root / "corpus.jsonl", count)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    source = {"name": "corpus", "uri": "corpus.jsonl", "format": "messages", "kind": "conversation"}
    facts = {"licence": "mixed", "lang": "en", "objective": "helpful", "consent": True}
    params["ingest"]["sources"] = [{**source, **facts}]
    params["grade"]["scores"]["max_scored"] = 0
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def costs(count: int) -> dict[str, Cost]:
    """Run the stages one after the other and return what each cost."""
    root = Path(tempfile.mkdtemp(prefix="thumbwheel-whole-"))
    try:
        prepare(root, count)
        places = {"THUMBWHEEL_ROOT": str(root), "THUMBWHEEL_STATE": str(root / ".thumbwheel"), "PYTHONPATH": str(ROOT)}
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        return {name: measure([sys.executable, "-c", RUN.format(stage=name)], environment=places) for name in STAGES}
    finally:
        shutil.rmtree(root)


def rows(count: int = CONVERSATIONS) -> list[list[str]]:
    """Return the rows of the joint table: the whole, then each stage."""
    found = costs(count)
    total = sum(cost.cpu_seconds for cost in found.values())
    wall = sum(cost.wall_seconds for cost in found.values())
    peak = max(cost.peak_bytes for cost in found.values())
    said = f"{total:.0f} CPU-s, {wall:.0f} s on two cores, {peak / 2**30:.1f} GiB"
    table = [[f"the whole data half, {count:,} conversations", said, "", "", "", "reported"]]
    for name, cost in found.items():
        shares = f"{cost.cpu_seconds:.1f} CPU-s, {cost.wall_seconds:.1f} s, {cost.peak_bytes / 2**30:.1f} GiB"
        table.append([f"… of which `{name}`", shares, "", "", f"{cost.cpu_seconds / total:.0%}", ""])
    return table


def _asked(prompt: str, reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]


def _reworded(messages: list[dict[str, str]], rng: random.Random) -> list[dict[str, Any]]:
    def doubled(word: re.Match[str]) -> str:
        return f"{word.group()} {word.group()}" if rng.random() < 0.05 else word.group()

    return [{**message, "content": re.sub(r"\w+", doubled, message["content"])} for message in messages]


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CONVERSATIONS
    heading = ("work", "cost", "", "", "share", "")
    print(f"Measured on {machine()}.\n\n{markdown(heading, rows(count))}")


if __name__ == "__main__":
    main()
