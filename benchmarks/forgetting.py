"""Forget the user with the most rows of a real corpus: how long it takes, what goes, and what can be found afterwards.

    python -m benchmarks.forgetting

Reads the trees of OASST2, whose messages name their users; skips, saying so, where they are not on this machine. The
corpus is taken in by `ingest` in a root of its own, the user is forgotten, and the same corpus is taken in again.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import ROOT, machine
from benchmarks.public_data import AbsentDataError, public_data

CORPUS = ("chat/oasst2_filtered_openpaws", "oasst2_filtered.jsonl")


def main() -> None:
    try:
        corpus = public_data(CORPUS[0]) / CORPUS[1]
    except AbsentDataError as error:
        print(f"skipped: {error}")
        return
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), corpus)


def _measure(root: Path, corpus: Path) -> None:
    user, messages = most_frequent(corpus)
    _prepare(root, corpus)
    before = _ingest(root)
    held = holding(root, user)
    began, used = time.monotonic(), _cpu()
    _run(root, "stages.forget", user, "--yes")
    seconds, cpu = time.monotonic() - began, _cpu() - used
    left = holding(root, user)
    shutil.copy(corpus, root / "trees.jsonl")
    after = _ingest(root)
    again = holding(root, user) - {"trees.jsonl"}
    print(f"{machine()}\n{messages} messages of the user, in {len(held)} files before, in {len(left)} afterwards")
    print(f"forgotten in {cpu:.1f} CPU-seconds, {seconds:.1f} s by the clock")
    print(f"of {before['rows']} rows {before['rows'] - after['rows']} went")
    print(f"the same corpus again: {after['forgotten']} records refused, {len(again)} files hold the user")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def most_frequent(corpus: Path) -> tuple[str, int]:
    """Return the user with the most messages, and how many they are."""
    counts: Counter[str] = Counter()

    def walk(node: dict[str, Any]) -> None:
        counts[node["user_id"]] += 1
        for reply in node.get("replies") or ():
            walk(reply)

    for line in corpus.read_text().splitlines():
        walk(json.loads(line)["prompt"])
    return counts.most_common(1)[0]


def holding(root: Path, user: str) -> set[str]:
    """Return the files that hold the user's name, or the hash that stands for it, Parquet rows read as text."""
    import pyarrow.parquet as pq

    from thumbwheel.records import user_hash

    words = [user, user_hash(user, b"salt")]
    found = set()
    for path in (path for path in root.rglob("*") if path.is_file()):
        rows = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else ""
        if any(word in rows or word.encode() in path.read_bytes() for word in words):
            found.add(str(path.relative_to(root)))
    return found


def _prepare(root: Path, corpus: Path) -> None:
    shutil.copy(corpus, root / "trees.jsonl")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    source: dict[str, Any] = {
        "name": "trees",
        "uri": "trees.jsonl",
        "format": "oasst",
        "kind": "both",
        "licence": "Apache-2.0",
    }
    source |= {"lang": "en", "objective": "helpful", "consent": True}
    params["ingest"] |= {"sources": [source], "user_salt": "salt"}
    params["collect"] = {"files": []}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "data" / "seed").mkdir(parents=True)
    for name in ("eval", "knowledge"):
        shutil.copytree(ROOT / "data" / "seed" / name, root / "data" / "seed" / name)


def _ingest(root: Path) -> dict[str, int]:
    _run(root, "stages.observe")
    _run(root, "stages.ingest")
    pin = json.loads((root / "data" / "pins" / "ingest.json").read_text())
    rows = sum(pin["tables"][name]["rows"] for name in ("conversations", "preferences"))
    return {"rows": rows, "forgotten": pin["rejections"].get("forgotten", 0)}


def _run(root: Path, module: str, *arguments: str) -> None:
    environment = {**os.environ, "THUMBWHEEL_ROOT": str(root), "PYTHONPATH": str(ROOT), "THUMBWHEEL_CHAT_PORT": "3999"}
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=root, env=environment, check=True)


if __name__ == "__main__":
    main()
