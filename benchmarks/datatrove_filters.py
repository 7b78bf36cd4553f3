"""Apply datatrove's own filters to texts; runs in the peer's environment, started by `benchmarks/data_quality.py`.

    python benchmarks/datatrove_filters.py TEXTS.json VERDICTS.json

Every filter sees every text as it was, and none what another has dropped or changed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

FILTERS = {
    "gopher": "GopherQualityFilter",
    "repetition": "GopherRepetitionFilter",
    "c4": "C4QualityFilter",
    "fineweb": "FineWebQualityFilter",
}


def main(texts: Path, verdicts: Path) -> None:
    from datatrove.data import Document
    from datatrove.pipeline import filters

    chain = [getattr(filters, name)() for name in FILTERS.values()]
    read: list[str] = json.loads(texts.read_text())
    for each in chain:
        each.filter(Document(text="Once more, to load what is loaded late.", id="0"))
    began = time.process_time()
    found = [[reason(each.filter(Document(text=text, id="0"))) for each in chain] for text in read]
    spent = time.process_time() - began
    verdicts.write_text(json.dumps(found))
    print(json.dumps({"work_cpu": spent, "texts": len(read)}))


def reason(verdict: Any) -> str | None:
    """Return why a filter drops a text, or None where it keeps it."""
    return verdict[1] if isinstance(verdict, tuple) else None if verdict else "dropped"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
