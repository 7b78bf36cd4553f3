"""The kernels that find what a text repeats: lines, paragraphs and runs of words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.quality.affix_kernel import SPREAD
from stages.quality.compiled_kernel import compiled, inlined
from stages.quality.word_kernel import Text

NEWLINE = 10


class Groups(NamedTuple):
    """Room to put equal keys together."""

    keys: np.ndarray
    """uint64."""
    first: np.ndarray
    """Where each key stands first; uint32."""
    counts: np.ndarray
    """How often, at that place; int32."""
    heads: np.ndarray
    """Open addressing: where a key stands first, plus one, 0 for none; uint32, four to eight times as long."""


def groups_room(size: int) -> Groups:
    """Return room for `size` keys."""
    length = max(size, 1)
    heads = np.zeros(2 ** (4 * length).bit_length(), np.uint32)
    return Groups(np.empty(length, np.uint64), np.empty(length, np.uint32), np.empty(length, np.int32), heads)


@inlined
def joined(key: np.uint64, other: np.uint64) -> np.uint64:
    """Return the hash of one hash behind another."""
    return key * np.uint64(SPREAD) + other


@compiled
def group(room: Groups, size: int) -> int:
    """Put the first `size` keys together; return how many occurred before."""
    bits = 1
    while (1 << bits) < 4 * size:
        bits += 1
    mask, shift, again = np.uint64((1 << bits) - 1), np.uint64(64 - bits), 0
    room.heads[: 1 << bits] = 0
    for i in range(size):
        key = room.keys[i]
        slot = (key * np.uint64(SPREAD)) >> shift
        head = np.uint64(room.heads[slot])
        while head != 0 and room.keys[head - np.uint64(1)] != key:
            slot = (slot + np.uint64(1)) & mask
            head = np.uint64(room.heads[slot])
        if head == 0:
            room.heads[slot], room.first[i], room.counts[i] = i + 1, i, 1
        else:
            first = head - np.uint64(1)
            again += 1
            room.first[i], room.counts[i] = first, 0
            room.counts[first] += 1
    return again


@compiled
def gram_measures(text: Text, words: int, room: Groups, out: np.ndarray) -> None:
    """Write the characters of the commonest runs of 2 to 4 words, and of repeated runs of 5 to 10.

    A run can only be repeated where both runs within it that are shorter by one are: only those spots are looked at,
    few in ordinary text.
    """
    out[:9] = 0
    count, spots = max(words - 1, 0), text.spare
    for i in range(count):
        spots[i] = i
        room.keys[i] = joined(text.ids[i], text.ids[i + 1])
    for n in range(2, 11):
        if n > words:
            return
        again = group(room, count)
        if n < 5:
            out[n - 2] = top_characters(text, room, n, count, again)
        elif again:
            out[n - 2] = repeated_characters(text, room, n, count)
        count = lengthen(text.ids, n, words, room, spots, count) if again else 0


@compiled
def lengthen(ids: np.ndarray, n: int, words: int, room: Groups, spots: np.ndarray, count: int) -> int:
    """Keep the spots where a run of `n` + 1 words may be repeated, with the keys of those runs; return how many."""
    kept, repeated = 0, is_repeated(room, 0)
    for j in range(count - 1):
        spot, before, repeated = spots[j], repeated, is_repeated(room, j + 1)
        if before and repeated and spots[j + 1] == spot + 1 and spot + n < words:
            spots[kept] = spot
            room.keys[kept] = joined(room.keys[j], ids[spot + n])
            kept += 1
    return kept


@inlined
def is_repeated(room: Groups, j: int) -> bool:
    return room.counts[room.first[j]] > 1


@inlined
def top_characters(text: Text, room: Groups, n: int, count: int, again: int) -> int:
    """Return the characters of the commonest run, the earliest of equals; the very first where none is repeated."""
    best, most = 0, 1
    if again:
        for j in range(count):
            if room.counts[j] > most:
                best, most = text.spare[j], room.counts[j]
    return (characters(text, best, n) + n - 1) * most


@inlined
def characters(text: Text, word: int, n: int) -> int:
    """Return the characters of `n` words."""
    count = 0
    for i in range(word, word + n):
        count += text.ends[i] - text.begins[i]
    return count


@inlined
def repeated_characters(text: Text, room: Groups, n: int, count: int) -> int:
    """Return the characters of runs that occurred before and do not overlap those already counted."""
    spots, seen = text.spare, text.other
    seen[:count] = 0
    at = found = 0
    for j in range(count):
        if spots[j] < at or not is_repeated(room, j):
            continue
        if seen[room.first[j]]:
            found += characters(text, spots[j], n)
            at = spots[j] + n
        else:
            seen[room.first[j]] = 1
    return found
