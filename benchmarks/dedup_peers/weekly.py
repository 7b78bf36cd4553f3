"""A week's batch against its history on disk, or all of it at once: `weekly.py FILE KEPT FIRST batch|whole`.

The first FIRST rows are the history. Both end with the same: which documents there are, their clusters, and the
similarities of the batch's duplicates to what stays.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import ours
from contract import cpu

from stages.duplicates.dedup_history import History, id_keys, kept_history
from stages.duplicates.documents import fold_table
from stages.kernels import main as load_kernels


def add(history: History, table: ours.pa.Table) -> np.ndarray:
    """Add rows; return their documents, with their clusters known and the duplicates among them measured."""
    documents = history.add(id_keys(table["id"], history.params.seed), fold_table(table, ours.documents))
    clusters = history.clusters()[documents]
    near = clusters != documents
    history.similarities(documents[near], clusters[near])
    return documents


def main() -> None:
    """Print CPU-seconds, and a checksum of the clusters by which both ways are seen to agree."""
    table, first = ours.read(sys.argv[1]), int(sys.argv[3])
    params = ours.parameters()
    load_kernels()
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[4] == "batch":
            with kept_history(Path(folder), params.sketch, params.threshold) as history:
                add(history, table.slice(0, first))
        begun = cpu()
        with kept_history(Path(folder), params.sketch, params.threshold) as history:
            documents = add(history, table.slice(first) if history.size else table)
            clusters = history.clusters()[documents[-(table.num_rows - first) :]]
        spent = cpu() - begun
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.npy"))
    print(json.dumps({"work_cpu": spent, "clusters": int(clusters.sum()), "bytes": size, "rows": table.num_rows}))


if __name__ == "__main__":
    main()
