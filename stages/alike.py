"""Which of many texts say nearly the same, so that many who send one thing weigh no more than a few. Pure.

Used by `stages.pairs`. A user is whoever says so: a cookie makes a new one, so a cap for each of them stops nobody.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import Field

from stages.duplicates.words import bare_words
from thumbwheel.params import Params

T = TypeVar("T")


class AlikeParams(Params):
    """Texts are alike from this Jaccard similarity of their words on; of those `most` stay, the oldest."""

    jaccard: float = Field(gt=0, le=1)
    most: int = Field(ge=1)


def leaders(texts: Sequence[str], jaccard: float) -> list[int]:
    """Return for each text the place of the first text that it is alike to; its own where it is like none before it.

    Candidates share one of their rarest words, as any two texts that are alike do (prefix filtering: Bayardo, Ma and
    Srikant 2007), so that few are compared.
    """
    words = [frozenset(bare_words(text)) for text in texts]
    counts = Counter(word for some in words for word in some)
    known: dict[str, list[int]] = defaultdict(list)
    found: list[int] = []
    for place, mine in enumerate(words):
        rarest = sorted(mine, key=lambda word: (counts[word], word))
        prefix = rarest[: len(mine) - math.ceil(jaccard * len(mine) - 1e-9) + 1]
        candidates = sorted({one for word in prefix for one in known[word]})
        leader = next((one for one in candidates if _are_alike(mine, words[one], jaccard)), place)
        found.append(leader)
        if leader == place:
            for word in prefix:
                known[word].append(place)
    return found


def spread(
    items: Sequence[T], saying: Callable[[T], str], jaccard: float, most: int, rejections: Counter[str]
) -> list[T]:
    """Return items, oldest first, without those of which `most` came before that say nearly the same."""
    seen: Counter[int] = Counter()
    kept: list[T] = []
    for item, leader in zip(items, leaders([saying(one) for one in items], jaccard), strict=True):
        seen[leader] += 1
        if seen[leader] <= most:
            kept.append(item)
    rejections["alike"] += len(items) - len(kept)
    return kept


def _are_alike(a: frozenset[str], b: frozenset[str], jaccard: float) -> bool:
    """Tell by what two sets share of all that both hold, which needs no union: J = common / (both - common)."""
    return len(a & b) * (1 + jaccard) >= jaccard * (len(a) + len(b)) - 1e-9
