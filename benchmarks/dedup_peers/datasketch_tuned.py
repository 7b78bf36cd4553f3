"""Deduplicate with datasketch at its best: batched updates, a fast hash, explicit bands, no check for repeated keys."""

from __future__ import annotations

from collections.abc import Iterator

import xxhash
from contract import grams, rows, run
from datasketch import MinHash, MinHashLSH


def deduplicate(path: str) -> Iterator[str]:
    index = MinHashLSH(num_perm=128, params=(25, 5))
    keys, texts = zip(*rows(path), strict=True)
    sets = ([gram.encode() for gram in grams(text)] for text in texts)
    sketches = MinHash.generator(sets, num_perm=128, hashfunc=xxhash.xxh32_intdigest)
    for key, sketch in zip(keys, sketches, strict=True):
        if not index.query(sketch):
            index.insert(key, sketch, check_duplication=False)
            yield key


if __name__ == "__main__":
    run(deduplicate)
