"""Deduplicate as datasketch's README shows it: a sketch a document, updated n-gram by n-gram, queried, inserted."""

from __future__ import annotations

from collections.abc import Iterator

from contract import grams, rows, run
from datasketch import MinHash, MinHashLSH


def deduplicate(path: str) -> Iterator[str]:
    index = MinHashLSH(threshold=0.8, num_perm=128)
    for key, text in rows(path):
        sketch = MinHash(num_perm=128)
        for gram in grams(text):
            sketch.update(gram.encode())
        if not index.query(sketch):
            index.insert(key, sketch)
            yield key


if __name__ == "__main__":
    run(deduplicate)
