"""What deduplicating a billion documents takes, from unit costs measured here on 100,000 real ones.

    python -m benchmarks.dedup_billion [ROWS] [CORES OF A NODE] [GIB OF A NODE]

The plan is that of `stages.duplicates.dedup_ray`: sketch where a shard lies, shuffle the keys by band, fetch the text
of the rows that share a key, confirm, and join the pairs that each band returns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from benchmarks.data_dedup import CORPORA, PLANTED, REAL
from benchmarks.dedup_corpus import corpus, write
from benchmarks.measure import machine, markdown
from stages.duplicates.bands import Bands, sorted_bands, with_company
from stages.duplicates.clusters import forest, link_within, made_ready
from stages.duplicates.dedup_params import DedupParams
from stages.duplicates.documents import fold_table
from stages.duplicates.grams import marked_rows
from stages.duplicates.minhash import band_keys
from stages.duplicates.rows import Folded, joined_rows

T = TypeVar("T")

KEY = 16
"""Bytes of an entry of the shuffle: a band's key and the number of a row."""
EDGE = 16
NUMBER = 8


class Units(NamedTuple):
    """Costs of one row, measured."""

    text: float
    """Bytes of its folded text."""
    sketch: float
    """CPU-seconds to fold and sketch it."""
    sort: float
    """CPU-seconds to sort its keys, all bands together."""
    confirm: float
    """CPU-seconds to confirm it, all bands together, each band for itself."""
    company: float
    """Bands in which it shares a key with another row: so often is its text fetched."""
    joined: float
    """Pairs that join clusters, all bands together."""
    bands: int


def measure_units() -> Units:
    """Return the unit costs on the real corpus, one band at a time as a cluster's tasks see them."""
    sys.path.append(str(CORPORA.parent.parent / "benchmarks" / "dedup_peers"))
    import ours

    params = ours.parameters()
    table = ours.read(str(write(CORPORA / "c100k.jsonl", corpus(REAL, PLANTED))))
    ours.kept_of(table.slice(0, 100))
    folded, fold_cost = _timed(lambda: fold_table(table, ours.documents))
    (keys, _), sketch_cost = _timed(lambda: band_keys(folded, params))
    unsorted = keys.copy()
    bands, sort_cost = _timed(lambda: sorted_bands(unsorted))
    company, joins, confirm_cost = 0, 0, 0.0
    for band in range(params.bands):
        rows = with_company(Bands(bands.keys[[band]], bands.rows[[band]]))
        pairs, cost = _timed(partial(_confirmed, folded, keys[[band]], rows, params))
        company, joins, confirm_cost = company + len(rows), joins + len(pairs), confirm_cost + cost
    costs = np.array([fold_cost + sketch_cost, sort_cost, confirm_cost, company, joins]) / len(folded)
    folding, sorting, confirming, shared, joined = costs.tolist()
    return Units(len(folded.data) / len(folded), folding, sorting, confirming, shared, joined, params.bands)


def _confirmed(folded: Folded, keys: np.ndarray, rows: np.ndarray, params: DedupParams) -> np.ndarray:
    """Return the pairs that join the clusters of one band."""
    some = joined_rows(folded, rows)
    picked = made_ready(some, keys.take(rows, axis=1), marked_rows(some, params.words))
    alone = forest(len(rows), np.empty((0, 2), np.int64))
    return link_within(picked, 0, alone, params.words, params.threshold).pairs


def plan(units: Units, rows: int, cores: int, memory: float) -> list[list[str]]:
    """Return what `rows` documents take on nodes of so many cores and GiB of memory."""
    text = rows * units.text
    keys = rows * units.bands * KEY
    fetched = rows * units.company * units.text
    most = rows * units.bands * units.text
    edges = rows * units.joined * EDGE
    seconds = rows * (units.sketch + units.sort + units.confirm)
    nodes = int(np.ceil((text + keys) / (memory * 2**30 / 2)))
    return [
        ["folded text", f"{text / 1e12:.2f} TB"],
        ["shuffled keys", f"{keys / 1e12:.2f} TB, {keys / rows:.0f} B a row"],
        ["text fetched to confirm", f"{fetched / 1e12:.2f} TB as measured, {most / 1e12:.1f} TB at most"],
        ["pairs returned by the bands", f"{edges / 1e9:.1f} GB, {edges / 1e9 / units.bands:.1f} GB a band"],
        ["to join them, one process", f"{rows * NUMBER / 1e9:.1f} GB and one pass over the pairs"],
        [
            "work",
            f"{seconds / 3600:,.0f} core-hours: sketch {rows * units.sketch / 3600:,.0f}, "
            f"sort {rows * units.sort / 3600:,.0f}, confirm {rows * units.confirm / 3600:,.0f}",
        ],
        ["nodes that hold text and keys in half their memory", f"{nodes} of {cores} cores and {memory:.0f} GiB"],
        ["time on these, without the network", f"{seconds / (nodes * cores) / 3600:.1f} h"],
        [
            "moved through each node",
            f"{(keys + fetched) / nodes / 1e9:.0f} GB, {(keys + fetched) / nodes / 1.25e9 / 60:.0f} min at 10 Gbit/s",
        ],
    ]


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what `work` returns and its CPU-seconds."""
    begun = time.process_time()
    return work(), time.process_time() - begun


def main() -> None:
    """Print the unit costs and the plan."""
    rows, cores, memory = (*map(int, sys.argv[1:4]), *(1_000_000_000, 32, 256)[len(sys.argv) - 1 :])
    units = measure_units()
    print(f"{machine()}\n")
    print(markdown(("of one row", "measured"), [[name, f"{value:.3g}"] for name, value in units._asdict().items()]))
    print()
    print(markdown((f"{rows:,} rows", "takes"), plan(units, rows, cores, memory)))


if __name__ == "__main__":
    main()
