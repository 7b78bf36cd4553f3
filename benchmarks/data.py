"""The data half against its peers: every row of the README's table, from one command.

    python -m benchmarks.data [dedup pii quality ingest whole]      # all parts unless some are named; about an hour

Each peer runs in an environment of its own, taking turns with ours; costs are CPU-seconds of the process and of all its
children, start-up included unless a row says otherwise. Each part is a module and can be run alone.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from benchmarks.measure import machine, markdown

PARTS = ("dedup", "pii", "quality", "ingest", "whole")
HEADING = ("work", "ours", "peer", "theirs", "ratio", "aim")


def main(names: Sequence[str]) -> None:
    """Print the machine and one table over the parts named."""
    if unknown := sorted(set(names) - set(PARTS)):
        raise SystemExit(f"error: no part is named '{unknown[0]}'; known: {', '.join(PARTS)}")
    rows = []
    for name in names or PARTS:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"benchmarks.data_{name}").rows()
    print(f"Measured on {machine()}.\n\n{markdown(HEADING, rows)}")


if __name__ == "__main__":
    main(sys.argv[1:])
