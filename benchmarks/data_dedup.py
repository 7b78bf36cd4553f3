"""Deduplication against its peers: cost, recall and precision on 100,000 real documents, and how it grows.

    python -m benchmarks.data_dedup

Costs are CPU-seconds of the process and its children, the work alone and, in brackets, with start-up. Recall is the
share of the pairs at exact Jaccard 0.8 or over of which not both stayed; precision the share of the dropped rows that
are so similar to another; the truth is `benchmarks.dedup_truth`, which uses nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.dedup_corpus import corpus, short_corpus, write
from benchmarks.dedup_truth import Score, Truth, kept_rows, score, truth_of
from benchmarks.measure import ROOT, Cost, alternate, machine, markdown, measure, peer_python
from benchmarks.public_data import public_data

CORPORA = ROOT / ".thumbwheel" / "bench"
SCRIPTS = ROOT / "benchmarks" / "dedup_peers"
HEADING = ("work", "ours", "peer", "theirs", "ratio", "aim")
REAL, PLANTED = 78_214, 21_786
SUBSET = 25
"""Slow peers run on a corpus of this many times fewer documents, made likewise; their cost is scaled up."""
HISTORY = 92_000

Peer = tuple[str, Sequence[str], str, bool]
"""Script, requirements, aim, and whether it is slow."""
PEERS: dict[str, Peer] = {
    "datasketch 2.0 loop": ("datasketch_loop.py", ("datasketch>=2.0,<2.1",), "≥ 100×", True),
    "datasketch 2.0 tuned": ("datasketch_tuned.py", ("datasketch>=2.0,<2.1", "xxhash"), "≥ 15×", False),
    "rensa": ("rensa_inline.py", ("rensa", "orjson", "numpy"), "≥ 5×", False),
    "gaoya": ("gaoya_index.py", ("gaoya", "orjson"), "≥ 4×", False),
    "datatrove": ("datatrove_pipeline.py", ("datatrove[processing]", "spacy", "nltk", "orjson"), "≥ 150×", True),
    "text-dedup": ("text_dedup_cli.py", ("text-dedup", "orjson"), "≥ 60×", True),
}


def rows() -> list[list[str]]:
    """Return the rows of the table, as `HEADING` names their columns."""
    whole = write(CORPORA / "c100k.jsonl", corpus(REAL, PLANTED))
    few = write(CORPORA / "c4k.jsonl", corpus(REAL // SUBSET, PLANTED // SUBSET))
    return [*peer_rows(whole, few), *revision_rows(), *rewording_rows(whole), *growth_rows(whole)]


def peer_rows(whole: Path, few: Path) -> Iterator[list[str]]:
    """Yield one row a peer, alternating with ours."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: Path(folder) / name.replace(" ", "_") for name in ("ours", *PEERS)}
        commands = {"ours": _command("ours.py", whole, kept["ours"])}
        for name, (script, needs, _, slow) in PEERS.items():
            commands[name] = _command(script, few if slow else whole, kept[name], peer_python(_env(name), needs))
        costs = alternate(commands, runs=3)
        mine = score(truth_of(whole), kept_rows(whole, kept["ours"]))
        for name, (_, _, aim, slow) in PEERS.items():
            path = few if slow else whole
            theirs = score(truth_of(path), kept_rows(path, kept[name]))
            times, note = (SUBSET, f", on {SUBSET}× fewer, scaled") if slow else (1, "")
            ratio = costs[name].work_cpu * times / costs["ours"].work_cpu
            yield [
                "dedup 100k real documents, JSONL to kept ids",
                _cost(costs["ours"], 1, mine),
                name,
                _cost(costs[name], times, theirs) + note,
                f"{ratio:.1f}×",
                aim,
            ]


def revision_rows() -> Iterator[list[str]]:
    """Yield recall and precision on real revisions of pages, whose pairs came with the data.

    Those count a run of Chinese as one word, so a page of it that changed in a few places is no duplicate to them.
    """
    import numpy as np

    home = public_data("dedup/gitdup_dev")
    ids = {json.loads(line)["id"]: i for i, line in enumerate((home / "docs.jsonl").open())}
    pairs = [json.loads(line) for line in (home / "pairs.jsonl").open()]
    pairs = [pair for pair in pairs if pair["jaccard5"] >= 0.8]
    columns = ([ids[p["a"]] for p in pairs], [ids[p["b"]] for p in pairs], [p["jaccard5"] for p in pairs])
    with tempfile.TemporaryDirectory() as folder:
        measure(_command("ours.py", home / "docs.jsonl", Path(folder) / "kept"))
        found = score(Truth(*map(np.array, columns)), kept_rows(home / "docs.jsonl", Path(folder) / "kept"))
    work = f"{len(ids)} pages and their revisions, {len(pairs)} pairs ≥ 0.8"
    yield [work, f"recall {found.recall:.3f}, precision {found.precision:.3f}", "", "", "", "both ≥ 0.995"]


def rewording_rows(whole: Path) -> Iterator[list[str]]:
    """Yield how many copies with 2% of their words replaced are told apart from their source no longer."""
    lines = [json.loads(line) for line in whole.open()]
    truth = truth_of(whole)
    similar = set(zip(truth.left.tolist(), truth.right.tolist(), strict=True))
    pairs = [(i, row["source"]) for i, row in enumerate(lines) if row["edit"] == "2% of words"]
    over = [pair for pair in pairs if (min(pair), max(pair)) in similar]
    for work, changes, chosen in (
        ("copies with 2% of words replaced, those at Jaccard ≥ 0.8", {}, over),
        ("the same, all of them", {}, pairs),
        ("the same, threshold 0.5, 42 bands of 3", {"threshold": 0.5, "bands": 42, "rows": 3}, pairs),
    ):
        with tempfile.TemporaryDirectory() as folder:
            command = [*_command("ours.py", whole, Path(folder) / "kept"), json.dumps(changes)]
            cost = measure(command)
            kept = kept_rows(whole, Path(folder) / "kept")
        found = sum(not (kept[a] and kept[b]) for a, b in chosen) / len(chosen)
        yield [work, f"{found:.1%} of {len(chosen):,}, {cost.work_cpu:.1f} s", "", "", "", "≥ 98%"]


def growth_rows(whole: Path) -> Iterator[list[str]]:
    """Yield a million rows, a thousand rows, a weekly batch, and a second core."""
    million = write(CORPORA / "s1m.jsonl", short_corpus(1_000_000))
    thousand = write(CORPORA / "c1k.jsonl", corpus(REAL // 100, PLANTED // 100))
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        cost = measure(_command("ours.py", million, kept))
        said = f"{cost.work_cpu:.1f} s ({cost.cpu_seconds:.1f}), peak {cost.peak_bytes / 2**30:.2f} GiB"
        yield ["dedup 1M short documents", said, "", "", "", "≤ 15 s, ≤ 1.5 GB"]
        loop = peer_python(_env("datasketch 2.0 loop"), PEERS["datasketch 2.0 loop"][1])
        small = {
            "ours": _command("ours.py", thousand, kept),
            "loop": _command("datasketch_loop.py", thousand, kept, loop),
        }
        costs = alternate(small, runs=3)
        ours, theirs = costs["ours"].cpu_seconds, costs["loop"].cpu_seconds
        named = "dedup 1,000 real documents, start-up in"
        yield [named, f"{ours:.2f} s", "datasketch 2.0 loop", f"{theirs:.2f} s", f"{theirs / ours:.1f}×", "≥ 1×"]
        weekly = [sys.executable, str(SCRIPTS / "weekly.py"), str(whole), str(kept), str(HISTORY)]
        costs = alternate({"batch": [*weekly, "batch"], "whole": [*weekly, "whole"]}, runs=5)
        yield _weekly(costs)
        one, two = ({0}, set(list(os.sched_getaffinity(0))[:2]))
        walls = {len(cores): _wall(_command("ours.py", whole, kept), cores) for cores in (one, two)}
        scaling = f"{walls[1]:.1f} s on one, {walls[2]:.1f} s on two"
        yield [
            "the same 100k on two cores, seconds by the clock",
            scaling,
            "",
            "",
            f"{walls[1] / walls[2]:.2f}×",
            "reported",
        ]


def _weekly(costs: Mapping[str, Cost]) -> list[str]:
    batch, whole = costs["batch"], costs["whole"]
    same = "same clusters" if batch.said["clusters"] == whole.said["clusters"] else "OTHER CLUSTERS"
    per_row = batch.said["bytes"] / batch.said["rows"]
    ratio = f"{whole.work_cpu / batch.work_cpu:.1f}×"
    said = f"{batch.work_cpu:.2f} s, {same}, {per_row:,.0f} B a row kept on disk"
    return ["a weekly batch of 8% against its history", said, "recompute", f"{whole.work_cpu:.2f} s", ratio, "≥ 10×"]


def _wall(command: Sequence[str], cores: set[int]) -> float:
    """Return the least seconds by the clock of three runs on some cores, as the script measured its work."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        return min(float(measure(command).said["work_wall"]) for _ in range(3))
    finally:
        os.sched_setaffinity(0, mine)


def _command(script: str, source: Path, kept: Path, python: str = sys.executable) -> list[str]:
    return [python, str(SCRIPTS / script), str(source), str(kept)]


def _cost(cost: Cost, times: int, found: Score) -> str:
    return (
        f"{cost.work_cpu * times:,.1f} s ({cost.cpu_seconds * times:,.1f}), {found.recall:.4f} / {found.precision:.4f}"
    )


def _env(name: str) -> str:
    return name.split()[0]


def main() -> None:
    """Print the table."""
    print(f"{machine()}\n")
    print(markdown(HEADING, rows()))


if __name__ == "__main__":
    main()
