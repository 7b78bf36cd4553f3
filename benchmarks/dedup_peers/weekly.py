"""A week's batch against its history on disk, or all of it at once: `weekly.py FILE KEPT FIRST batch|whole`.

The first FIRST rows are the history. Both end with the same: which documents there are, their clusters, and the
similarities of the batch's duplicates to what stays.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import ours
from contract import cpu

from stages.duplicates.dedup_history import id_keys, kept_history
from stages.duplicates.documents import fold_table
from stages.kernels import main as load_kernels


def add(folder: Path, table: ours.pa.Table) -> np.ndarray:
    """Add rows to the history in a folder, measure the duplicates among them, and return their clusters."""
    params = ours.parameters()
    with kept_history(folder, params.sketch, params.threshold) as history:
        documents = history.add(id_keys(table["id"], history.params.seed), fold_table(table, ours.documents))
        clusters = history.clusters()[documents]
        near = clusters != documents
        history.similarities(documents[near], clusters[near])
    return clusters


def main() -> None:
    """Print CPU-seconds, and a checksum of the clusters by which both ways are seen to agree."""
    table, first = ours.read(sys.argv[1]), int(sys.argv[3])
    load_kernels()
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[4] == "batch":
            add(Path(folder), table.slice(0, first))  # within it, so that the batch is not charged for letting it go
        gc.collect()  # else it falls into one of the two alone, and takes nearly as long as the batch
        begun = cpu()
        clusters = add(Path(folder), table.slice(first) if sys.argv[4] == "batch" else table)
        spent = cpu() - begun
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    said = {"work_cpu": spent, "clusters": int(clusters[first - table.num_rows :].sum())}
    print(json.dumps({**said, "bytes": size, "rows": table.num_rows}))


if __name__ == "__main__":
    main()
