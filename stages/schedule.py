"""The order in which a training sees its examples, fixed beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BUCKET = 8
"""Batches that are sorted by length together: enough to save padding, few enough to stay random."""


def schedule(lengths: Sequence[int], epochs: float, batch: int, steps: int, rng: np.random.Generator) -> list[int]:
    """Return the order in which to see examples: whole batches of like length, shuffled anew each epoch.

    At most `steps` batches; `epochs` may be a fraction. Fixing the order beforehand makes a resumed run see the very
    same batches.
    """
    order: list[int] = []
    total = min(steps * batch, math.ceil(epochs * len(lengths)))
    while len(order) < total:
        order += _one_epoch(lengths, batch, rng)
    return order[:total]


def _one_epoch(lengths: Sequence[int], batch: int, rng: np.random.Generator) -> list[int]:
    shuffled = rng.permutation(len(lengths)).tolist()
    size = batch * BUCKET
    buckets = [sorted(shuffled[i : i + size], key=lambda j: (lengths[j], j)) for i in range(0, len(shuffled), size)]
    batches = [bucket[i : i + batch] for bucket in buckets for i in range(0, len(bucket), batch)]
    full = [one for one in batches if len(one) == batch]
    rest = [one for one in batches if len(one) < batch]
    return [j for k in rng.permutation(len(full)) for j in full[k]] + [j for one in rest for j in one]
