"""Ingest against `pandas` and `datasets`, each followed by `write_deltalake`: CPU-seconds, speed, peak memory.

    python -m benchmarks.data_ingest            # a table
    python -m benchmarks.data_ingest 1000       # the same on files of so many megabytes
    python -m benchmarks.data_ingest 10000 held # ours alone, each process held to 2 GB of data

The peers read JSONL and write it down as it is. Ours checks every row besides, hashes its messages, notes where it
stood, mends its encoding and quarantines what does not fit; telling the language of every row is measured apart.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import ROOT, Cost, alternate, machine, markdown, measure, peer_python
from benchmarks.public_data import public_data

HERE = {"PYTHONPATH": str(ROOT)}
HELD = 2 << 30
"""Bytes of data (`RLIMIT_DATA`) that a process may hold."""
HEADING = ("work", "ours", "peer", "theirs", "ratio", "aim")
DELTA = ("deltalake==1.6.6", "pyarrow==25.0.1")
CLOCK = """
import json, resource, sys
def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)
source, target = sys.argv[1:3]
"""
PANDAS = f"""{CLOCK}
import pandas
from deltalake import write_deltalake
began = cpu()
rows = pandas.read_json(source, lines=True)
write_deltalake(target, rows)
print(json.dumps({{"work_cpu": cpu() - began, "rows": len(rows)}}))
"""
DATASETS = f"""{CLOCK}
import datasets
from deltalake import write_deltalake
began = cpu()
rows = datasets.load_dataset("json", data_files=source, split="train", cache_dir=target + ".cache")
write_deltalake(target, rows.data.table)
print(json.dumps({{"work_cpu": cpu() - began, "rows": len(rows)}}))
"""
OURS = f"""{CLOCK}
import os
os.environ.update(THUMBWHEEL_ROOT=target, THUMBWHEEL_STATE=target + "/state")
import deltalake, ftfy, orjson, pyarrow, pyarrow.dataset, pyarrow.parquet
from stages.ingest import IngestParams, read_sources, write_tables
from stages.reading.sources import list_files
from thumbwheel.lake import write_json
from thumbwheel.settings import settings
pyarrow.array(["what pyarrow loads on its first array"])
from stages.kernels import read_a_line
read_a_line()  # what numba loads with its first kernel
began = cpu()
source = dict(name="s", uri=source, format="auto", kind="both", licence="x", lang="en")
source.update(objective="helpful", consent=True)
language = dict(characters=int(sys.argv[3]), min_characters=24, min_confidence=0.5)
params = IngestParams(sources=[source], max_characters=10**9, user_salt="s", language=language)
listed = [dict(name=s.name, uri=s.uri, files=list_files(s)) for s in params.sources]
write_json(settings().inputs / "sources.json", dict(sources=listed))
taken = [unit for units in read_sources(params).values() for unit in units]
tables = write_tables(taken)
read = sum(unit.counts["read"] for unit in taken)
assert read == tables["conversations"].rows + tables["quarantine"].rows
print(json.dumps(dict(work_cpu=cpu() - began, rows=read)))
"""
FLOOR = f"""{CLOCK}
from deltalake import DeltaTable, write_deltalake
tables = [DeltaTable(f"{{source}}/ingest_{{name}}").to_pyarrow_table() for name in ("conversations", "origins")]
began = cpu()
for place, rows in enumerate(tables):
    write_deltalake(f"{{target}}/{{place}}", rows)
print(json.dumps({{"work_cpu": cpu() - began}}))
"""


def rows(megabytes: int = 65) -> list[list[str]]:
    """Return the rows of the table, measured in alternating runs on real prompts and completions."""
    with tempfile.TemporaryDirectory(prefix="data_ingest") as name:
        folder = Path(name)
        source = write_source(folder / "rows.jsonl", megabytes)
        costs = compare(source, folder)
        speeds = _speeds(costs, source.stat().st_size / 1e6)
        return [*speeds, *_floor(folder, costs["ours"]), *_repeats(source, folder), *_memory(folder, megabytes)]


def write_source(path: Path, megabytes: int) -> Path:
    """Write so many megabytes of P3's rows, over and over, each with a number of its own so that none is a repeat."""
    lines = (public_data("chat/p3_50k") / "p3_50k.jsonl").read_bytes().splitlines()
    size, number = 0, 0
    with path.open("w") as file:
        while size < megabytes * 1_000_000:
            row = json.loads(lines[number % len(lines)])
            row["prompt"] = f"{row['prompt']} [{number}]"
            size += file.write(json.dumps(row, ensure_ascii=False) + "\n")
            number += 1
    return path


def compare(source: Path, folder: Path, runs: int = 3) -> dict[str, Cost]:
    """Return what each way costs; every run starts from nothing."""
    pandas = peer_python("ingest-pandas", ["pandas==3.1.1", *DELTA])
    datasets = peer_python("ingest-datasets", ["datasets==5.2.0", *DELTA])
    return alternate(
        {
            "ours": _afresh(ours(source, folder / "ours", 0)),
            "ours, with languages": _afresh(ours(source, folder / "told", 120)),
            "pandas": _afresh([pandas, "-c", PANDAS, str(source), str(folder / "pandas")]),
            "datasets": _afresh([datasets, "-c", DATASETS, str(source), str(folder / "datasets")]),
        },
        runs,
        environment={"HF_HUB_OFFLINE": "1", **HERE},
    )


def ours(source: Path, target: Path, characters: int) -> list[str]:
    """Return the command of our way; where it ran before, it finds what that run left."""
    return [sys.executable, "-c", OURS, str(source), str(target), str(characters)]


def _afresh(command: list[str]) -> list[str]:
    """Return a command that first clears away its target, which is its fifth word."""
    clear = f'rm -rf "{command[4]}" "{command[4]}.cache"; exec "$@"'
    return ["bash", "-c", clear, "clear", *command]


def held(megabytes: int) -> list[list[str]]:
    """Return what ours takes for a file of so many megabytes where no process may hold more than `HELD` of data."""
    with tempfile.TemporaryDirectory(prefix="data_ingest") as name:
        source = write_source(Path(name) / "rows.jsonl", megabytes)
        limited = f'ulimit -d {HELD >> 10}; exec "$@"'
        cost = measure(["bash", "-c", limited, "limited", *ours(source, Path(name) / "ours", 0)], HERE)
        work = f"{megabytes} MB of JSONL to Delta, {cost.said['rows']} rows, each process held to {HELD >> 30} GiB"
        told = f"{cost.work_cpu:.1f} CPU-s, {cost.wall_seconds:.0f} s, largest process {cost.peak_bytes / 1e6:.0f} MB"
        return [[work, told, "", "", "", "flat"]]


def _speeds(costs: dict[str, Cost], size: float) -> Iterator[list[str]]:
    for way, peer in ((w, p) for w in ("ours", "ours, with languages") for p in ("pandas", "datasets")):
        our, their = costs[way], costs[peer]
        work = f"{size:.0f} MB of JSONL to Delta{way.removeprefix('ours')}"
        ratios = f"{their.work_cpu / our.work_cpu:.2f}× ({their.cpu_seconds / our.cpu_seconds:.2f}×)"
        yield [
            f"{work}, CPU-s (start-up in)",
            _seconds(our),
            f"{peer} + write_deltalake",
            _seconds(their),
            ratios,
            "≥ 3×",
        ]
        walls = [f"{size / cost.wall_seconds:.0f} MB/s" for cost in (our, their)]
        yield [f"{work}, wall", walls[0], peer, walls[1], f"{their.wall_seconds / our.wall_seconds:.2f}×", ""]
        peaks = [f"{cost.peak_bytes / 1e6:.0f} MB" for cost in (our, their)]
        yield [f"{work}, peak memory", peaks[0], peer, peaks[1], f"{their.peak_bytes / our.peak_bytes:.1f}×", "flat"]


def _seconds(cost: Cost) -> str:
    return f"{cost.work_cpu:.2f} ({cost.cpu_seconds:.2f})"


def _floor(folder: Path, ours: Cost) -> Iterator[list[str]]:
    """Yield what the mere writing of our tables costs, from memory, by the peers' way of writing."""
    command = _afresh([sys.executable, "-c", FLOOR, str(folder / "ours" / "data" / "lake"), str(folder / "floor")])
    floor = alternate({"floor": command}, environment=HERE)["floor"].work_cpu
    ratio = f"{floor / ours.work_cpu:.2f}×"
    yield ["our tables written, CPU-s", f"{ours.work_cpu:.2f}", "write_deltalake alone", f"{floor:.2f}", ratio, ""]


def _repeats(source: Path, folder: Path) -> Iterator[list[str]]:
    """Yield what a second run over a file that did not change costs."""
    first = measure(ours(source, folder / "again", 0), HERE)
    second = measure(ours(source, folder / "again", 0), HERE)
    ratio = f"{first.work_cpu / second.work_cpu:.1f}×"
    yield [
        "ingest a file that did not change",
        f"{second.work_cpu:.2f} s",
        "first run",
        f"{first.work_cpu:.2f} s",
        ratio,
        "",
    ]


def _memory(folder: Path, megabytes: int) -> Iterator[list[str]]:
    """Yield our peak memory on ten times the rows."""
    peaks = []
    for factor in (1, 10):
        source = write_source(folder / f"{factor}.jsonl", megabytes * factor)
        peaks.append(measure(ours(source, folder / "memory", 0), HERE).peak_bytes / 1e6)
        shutil.rmtree(folder / "memory")
        source.unlink()
    ratio = f"{peaks[1] / peaks[0]:.2f}×"
    yield [
        "peak memory of ingest, ten times the rows",
        f"{peaks[1]:.0f} MB",
        "ours, once",
        f"{peaks[0]:.0f} MB",
        ratio,
        "flat",
    ]


def main() -> None:
    """Print the table and the machine."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 65
    measured = held(megabytes) if sys.argv[2:] == ["held"] else rows(megabytes)
    print(f"{machine()}\n\n{markdown(HEADING, measured)}")


if __name__ == "__main__":
    main()
