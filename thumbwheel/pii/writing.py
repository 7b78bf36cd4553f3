"""How countries write their national telephone numbers: the lengths of the groups, from libphonenumber's formats."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import lru_cache

MAX_WAYS = 64
"""Lengths that one format may stand for; a format as loose as `any digits` says nothing about writing."""
CAPTURED = re.compile(r"\(([^()]*(?:\(\?:[^()]*\)[^()]*)*)\)")
COUNT = re.compile(r"(?:\\d|\[[^\]]+\]|[0-9])(?:\{(\d+)(?:,(\d+))?\})?")


@lru_cache(maxsize=4096)
def plans_written_like(groups: tuple[int, ...], regions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the regions that write numbers in groups of these lengths, with or without their trunk prefix."""
    return tuple(region for region in regions if groups in _ways(region))


@lru_cache(maxsize=256)
def _ways(region: str) -> frozenset[tuple[int, ...]]:
    from phonenumbers import PhoneMetadata

    plan = PhoneMetadata.metadata_for_region(region)
    if plan is None or plan.general_desc is None:
        return frozenset()
    trunk = plan.national_prefix or ""
    lengths = set(plan.general_desc.possible_length)
    bare = {way for each in plan.number_format for way in _group_lengths(each.pattern or "") if sum(way) in lengths}
    glued = {(len(trunk) + way[0], *way[1:]) for way in bare} if trunk else set()
    apart = {(len(trunk), *way) for way in bare} if trunk else set()
    return frozenset(way for way in bare | glued | apart if len(way) > 1)


def _group_lengths(pattern: str) -> Iterator[tuple[int, ...]]:
    r"""Yield the lengths that a format such as `(\d{2,3})(\d{4})` stands for, none where there are too many."""
    ranges = [_lengths(group) for group in CAPTURED.findall(pattern)]
    ways = 1
    for each in ranges:
        ways *= len(each)
    if 0 < ways <= MAX_WAYS:
        yield from itertools.product(*ranges)


def _lengths(group: str) -> range:
    """Return how many digits a group of a format holds, at least and at most."""
    longest = max(group.split("|"), key=len)
    counts = [(int(low or 1), int(high or low or 1)) for low, high in COUNT.findall(longest)]
    return range(sum(low for low, _ in counts), sum(high for _, high in counts) + 1)
