"""Deduplicate with text-dedup's own command, its faster hash and one process a core."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from contract import run

COMMAND = (
    "--path json --split train --column text --ngram 5 --min_length 1 --num_perm 128 --b 25 --r 5 --hash_func xxh3"
)


def deduplicate(path: str) -> Iterable[str]:
    from datasets import load_from_disk
    from text_dedup.minhash import main

    with tempfile.TemporaryDirectory() as place:
        folders = ["--cache_dir", f"{place}/cache", "--output", f"{place}/kept"]
        workers = ["--num_proc", str(len(os.sched_getaffinity(0)))]
        main([*COMMAND.split(), "--data_files", str(Path(path)), *folders, *workers], standalone_mode=False)
        return list(map(str, load_from_disk(f"{place}/kept")["id"]))


if __name__ == "__main__":
    run(deduplicate)
