"""The kernels that find what a text repeats: lines, paragraphs and runs of words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.quality.affix_kernel import PRIME, hashed, run_of
from stages.quality.compiled_kernel import compiled

NEWLINE = 10
SPREAD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: spreads keys over a table (Knuth, vol. 3, section 6.4)."""


class Groups(NamedTuple):
    """Room to put equal keys together."""

    keys: np.ndarray
    """uint64."""
    first: np.ndarray
    """Where each key stands first; int32."""
    counts: np.ndarray
    """How often, at that place; int32."""
    heads: np.ndarray
    """Open addressing: where a key stands first, plus one, 0 for none; int32, two to four times as long."""


def groups_room(size: int) -> Groups:
    """Return room for `size` keys."""
    length = max(size, 1)
    heads = np.zeros(2 ** (2 * length).bit_length(), np.int32)
    return Groups(np.empty(length, np.uint64), np.empty(length, np.int32), np.empty(length, np.int32), heads)


@compiled
def mixed(key: np.uint64, other: np.uint64) -> np.uint64:
    both = (key ^ (other >> np.uint64(29))) * np.uint64(SPREAD) + other
    both = (both ^ (both >> np.uint64(32))) * np.uint64(PRIME)
    return both if both != 0 else np.uint64(1)


@compiled
def group(room: Groups, size: int) -> int:
    """Put the first `size` keys together; return how many occurred before."""
    bits = 1
    while (1 << bits) < 2 * size:
        bits += 1
    mask, shift, again = (1 << bits) - 1, np.uint64(64 - bits), 0
    room.heads[: mask + 1] = 0
    for i in range(size):
        key = room.keys[i]
        slot = np.int64((key * np.uint64(SPREAD)) >> shift)
        while room.heads[slot] and room.keys[room.heads[slot] - 1] != key:
            slot = (slot + 1) & mask
        if room.heads[slot] == 0:
            room.heads[slot] = i + 1
            room.counts[i] = 0
        else:
            again += 1
        room.first[i] = room.heads[slot] - 1
        room.counts[room.first[i]] += 1
    return again


@compiled
def part_keys(cp: np.ndarray, begin: int, end: int, least: int, keys: np.ndarray, lengths: np.ndarray) -> int:
    """Split at runs of `least` or more line feeds; write each part's key and length, return how many there are."""
    parts, start, i = 0, begin, begin
    while i <= end:
        run = run_of(cp, i, end, NEWLINE)
        if i == end or run >= least:
            keys[parts], lengths[parts] = hashed(cp, start, i), i - start
            parts, start = parts + 1, i + run
        i += max(run, 1)
    return parts


@compiled
def copied(room: Groups, parts: int, lengths: np.ndarray) -> tuple[int, int]:
    """Return how many of the parts occurred before, and their characters."""
    again = group(room, parts)
    characters = 0
    if again:
        for i in range(parts):
            if room.first[i] != i:
                characters += lengths[i]
    return again, characters


@compiled
def gram_measures(
    ids: np.ndarray, sums: np.ndarray, words: int, room: Groups, spots: np.ndarray, seen: np.ndarray, out: np.ndarray
) -> None:
    """Write the characters of the commonest runs of 2 to 4 words, and of repeated runs of 5 to 10.

    `sums` are the characters of all words before each; `spots` and `seen` are room. A run can only be repeated where
    both runs within it that are shorter by one are: only those spots are looked at, few in ordinary text.
    """
    for k in range(9):
        out[k] = 0
    count = max(words - 1, 0)
    for i in range(count):
        spots[i] = i
        room.keys[i] = mixed(ids[i], ids[i + 1])
    for n in range(2, 11):
        if n > words:
            return
        again = group(room, count)
        if n < 5:
            out[n - 2] = top_characters(room, sums, n, spots, count, again)
        elif again:
            out[n - 2] = repeated_characters(room, sums, n, spots, count, seen)
        count = lengthen(ids, n, words, room, spots, count) if again else 0


@compiled
def lengthen(ids: np.ndarray, n: int, words: int, room: Groups, spots: np.ndarray, count: int) -> int:
    """Keep the spots where a run of `n` + 1 words may be repeated, with the keys of those runs; return how many."""
    kept = 0
    for j in range(count - 1):
        spot = spots[j]
        if spots[j + 1] == spot + 1 and spot + n < words and is_repeated(room, j) and is_repeated(room, j + 1):
            spots[kept] = spot
            room.keys[kept] = mixed(room.keys[j], ids[spot + n])
            kept += 1
    return kept


@compiled
def is_repeated(room: Groups, j: int) -> bool:
    return room.counts[room.first[j]] > 1


@compiled
def top_characters(room: Groups, sums: np.ndarray, n: int, spots: np.ndarray, count: int, again: int) -> int:
    """Return the characters of the commonest run, the earliest of equals; the very first where none is repeated."""
    best, most = 0, 1
    if again:
        for j in range(count):
            if room.first[j] == j and room.counts[j] > most:
                best, most = spots[j], room.counts[j]
    return (sums[best + n] - sums[best] + n - 1) * most


@compiled
def repeated_characters(room: Groups, sums: np.ndarray, n: int, spots: np.ndarray, count: int, seen: np.ndarray) -> int:
    for j in range(count):
        seen[j] = 0
    at = characters = 0
    for j in range(count):
        if spots[j] < at or not is_repeated(room, j):
            continue
        if seen[room.first[j]]:
            characters += sums[spots[j] + n] - sums[spots[j]]
            at = spots[j] + n
        else:
            seen[room.first[j]] = 1
    return characters
