"""Compile the kernels of the data stages ahead, into the cache beside the code, so that no stage waits for it.

python -m stages.kernels
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa

from stages.duplicates.dedup_params import SketchParams
from thumbwheel.command import run

SKETCH = SketchParams(words=5, permutations=128, bands=25, rows=5, seed=1)


def main() -> None:
    """Run every kernel once, on arrays as a stage has them: fresh ones, and ones mapped into memory."""
    from stages.duplicates.dedup_history import id_keys, kept_history
    from stages.duplicates.documents import fold_table, text_documents
    from stages.duplicates.minhash import signatures

    with tempfile.TemporaryDirectory() as folder:
        for turn in ("first", "second"):
            texts = [f"{turn} row {i} — one two three four five six seven eight nine ten" for i in (1, 1, 2)]
            table = pa.table({"id": [f"{turn} {i}" for i in range(3)], "text": texts})
            folded = fold_table(table, lambda batch: text_documents(batch["text"]))
            with kept_history(Path(folder), SKETCH, 0.5) as history:
                documents = history.add(id_keys(table["id"], SKETCH.seed), folded)
                history.find(id_keys(table["id"], SKETCH.seed))
                history.similarities(documents, history.clusters()[documents])
    signatures(folded, SKETCH)
    read_a_line()


def read_a_line() -> None:
    """Take in a line by whole columns."""
    from stages.reading.columns import plain_columns, read_pieces

    with tempfile.NamedTemporaryFile() as file:
        size = file.write('{"prompt": "Who?", "completion": "You — “naïve” one… \\n"}\n'.encode())
        file.flush()
        for lines in read_pieces(Path(file.name), 0, size, 0):
            plain_columns(lines, "auto", size)


if __name__ == "__main__":
    run(main)
