"""How much of what was said goes in circles: of a model under training, of a candidate's replies, of live answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def repeated(said: Sequence[Hashable], run: int) -> int:
    """Return how many tokens or words stand in a run of so many that comes more than once."""
    runs = list(zip(*(said[place:] for place in range(run)), strict=False))
    counts = Counter(runs)
    if len(counts) == len(runs):
        return 0
    return len({place + offset for place, one in enumerate(runs) if counts[one] > 1 for offset in range(run)})
