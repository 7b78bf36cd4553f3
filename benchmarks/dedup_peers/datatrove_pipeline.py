"""Deduplicate with datatrove's four MinHash steps, one process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from contract import rows, run
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig

CONFIG = MinhashConfig(n_grams=5, num_buckets=25, hashes_per_bucket=5)


def deduplicate(path: str) -> Iterator[str]:
    def documents() -> Iterator[Document]:
        return (Document(text=text, id=key) for key, text in rows(path))

    with tempfile.TemporaryDirectory() as place:
        signatures, pairs, gone = (str(Path(place) / name) for name in ("signatures", "pairs", "gone"))
        MinhashDedupSignature(signatures, config=CONFIG).run(documents(), 0, 1)
        buckets = MinhashDedupBuckets(signatures, pairs, config=CONFIG)
        for bucket in range(CONFIG.num_buckets):
            buckets.run(None, bucket, CONFIG.num_buckets)
        MinhashDedupCluster(pairs, gone, config=CONFIG).run(None, 0, 1)
        yield from (str(document.id) for document in MinhashDedupFilter(gone).run(documents(), 0, 1))


if __name__ == "__main__":
    run(deduplicate)
