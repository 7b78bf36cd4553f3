"""What every deduplicator that is measured reads and says: JSONL in, kept ids out, CPU-seconds in its last line."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

WORD = re.compile(r"\w+")


def cpu() -> float:
    """Return the CPU-seconds of this process and its children so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(some.ru_utime + some.ru_stime for some in used)


def rows(path: str) -> Iterator[tuple[str, str]]:
    """Yield id and text of each line."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield row["id"], row["text"]


def grams(text: str) -> set[str]:
    """Return the set of word 5-grams, a shorter text being one, as such scripts usually make them."""
    words = WORD.findall(text.lower())
    return {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def run(deduplicate: Callable[[str], Iterable[str]]) -> None:
    """Deduplicate the file named first and write the ids that stay to the one named second."""
    begun, wall = cpu(), time.monotonic()
    kept = deduplicate(sys.argv[1])
    Path(sys.argv[2]).write_text("\n".join(kept))
    print(json.dumps({"work_cpu": cpu() - begun, "work_wall": time.monotonic() - wall}))
