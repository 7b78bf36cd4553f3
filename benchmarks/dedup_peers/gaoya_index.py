"""Deduplicate with gaoya's string index: its own analyser, queried and inserted document by document."""

from __future__ import annotations

from collections.abc import Iterator

from contract import rows, run
from gaoya.minhash import MinHashStringIndex


def deduplicate(path: str) -> Iterator[str]:
    index = MinHashStringIndex(
        hash_size=32,
        jaccard_threshold=0.8,
        num_bands=25,
        band_size=5,
        num_hashes=125,
        analyzer="word",
        lowercase=True,
        ngram_range=(5, 5),
    )
    for number, (key, text) in enumerate(rows(path)):
        if not index.query(text):
            index.insert_document(number, text)
            yield key


if __name__ == "__main__":
    run(deduplicate)
