"""Deduplicate with rensa's deduplicator: sketches in bulk, then added one by one."""

from __future__ import annotations

from collections.abc import Iterator

from contract import grams, rows, run
from rensa import RMinHash, RMinHashDeduplicator

BATCH = 1000


def deduplicate(path: str) -> Iterator[str]:
    index = RMinHashDeduplicator(threshold=0.8, num_perm=128, use_lsh=True, num_bands=32)
    batch: list[tuple[str, str]] = []
    for row in rows(path):
        batch.append(row)
        if len(batch) == BATCH:
            yield from added(index, batch)
            batch = []
    yield from added(index, batch)


def added(index: RMinHashDeduplicator, batch: list[tuple[str, str]]) -> Iterator[str]:
    sketches = RMinHash.from_token_sets([list(grams(text)) for _, text in batch], 128, 42)
    yield from (key for (key, _), sketch in zip(batch, sketches, strict=True) if index.add(key, sketch))


if __name__ == "__main__":
    run(deduplicate)
