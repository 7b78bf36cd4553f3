"""The kernel that splits code points into words and sentences; `stages.quality.english` is its definition.

Texts are int32 arrays of code points, `flags` is the table of `stages.quality.characters`, positions are half open.
Nothing here is quadratic in a chunk's length, so that a row of one endless word costs no more than any other.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from stages.quality import characters
from stages.quality.address_kernel import is_address
from stages.quality.affix_kernel import hashed, infix_length, prefix_length, suffix_length, text_hash
from stages.quality.characters import AFFIX, LETTER, PUNCTUATION, SENTENCE_END, SPACE, SYMBOL
from stages.quality.compiled_kernel import compiled
from stages.quality.english import LONGEST, marked_cases, rules

SLOTS = 8192
REAL, ALPHABETIC, MARKS, CLOSES = 1, 2, 4, 8
"""Of a word: it is no mere symbol, holds a letter, is all punctuation, is a mark that closes a sentence."""


class Rules(NamedTuple):
    """The rules as arrays: special cases and units by hash, and how long the pieces of a case are."""

    flags: np.ndarray
    keys: np.ndarray
    """Hashes of special cases, open addressing, 0 for none; shape (SLOTS,), uint64."""
    cases: np.ndarray
    """Of the case in a slot: whether it holds marks, the number of its pieces, their lengths; shape (SLOTS, 8)."""
    units: np.ndarray
    """Sorted hashes of units."""


class Words(NamedTuple):
    """Room for a text and its words."""

    cp: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    spare: np.ndarray
    kinds: np.ndarray
    ids: np.ndarray
    sums: np.ndarray


def words_room(size: int) -> Words:
    """Return room for a text of `size` bytes."""
    cp, begins, ends, spare = (np.empty(size + 1, np.int32) for _ in range(4))
    return Words(cp, begins, ends, spare, np.empty(size + 1, np.uint8), np.empty(size + 1, np.uint64),
                 np.empty(size + 2, np.int32))  # fmt: skip


@cache
def tables() -> Rules:
    """Return the rules for the kernels."""
    keys, cases = np.zeros(SLOTS, np.uint64), np.zeros((SLOTS, 8), np.int32)
    for text, lengths in rules()["special"].items():
        key = text_hash(map(ord, text))
        slot = key % SLOTS
        while keys[slot]:
            slot = (slot + 1) % SLOTS
        keys[slot] = key
        cases[slot, : 2 + len(lengths)] = [text in marked_cases(), len(lengths), *lengths]
    units = np.array(sorted(text_hash(map(ord, unit)) for unit in rules()["units"]), np.uint64)
    return Rules(characters.table(), keys, cases, units)


@compiled
def find_case(key: np.uint64, keys: np.ndarray) -> np.int64 | int:
    slot = np.int64(key % np.uint64(SLOTS))
    while keys[slot] != 0:
        if keys[slot] == key:
            return slot
        slot = (slot + 1) % SLOTS
    return -1


@compiled
def case_of(cp: np.ndarray, begin: int, end: int, keys: np.ndarray) -> np.int64 | int:
    """Return the slot of the special case that stands there, or -1."""
    return find_case(hashed(cp, begin, end), keys) if 0 < end - begin <= LONGEST else -1


@compiled
def split_words(
    cp: np.ndarray, length: int, rules: Rules, begins: np.ndarray, ends: np.ndarray, spare: np.ndarray
) -> int:
    """Write where each word begins and ends, in order; return how many. All three arrays hold `length` at least."""
    words = i = 0
    while i < length:
        if rules.flags[cp[i]] & SPACE:
            i += 1
            continue
        start, seen = i, np.uint32(0)
        while i < length and not rules.flags[cp[i]] & SPACE:
            seen |= rules.flags[cp[i]]
            i += 1
        words = split_chunk(cp, start, i, bool(seen & AFFIX), rules, begins, ends, spare, words)
    return words


@compiled
def word_kind(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> int:
    """Return the bits `REAL`, `ALPHABETIC`, `MARKS` and `CLOSES` of a word."""
    some = every = flags[cp[begin]]
    for i in range(begin + 1, end):
        some |= flags[cp[i]]
        every &= flags[cp[i]]
    kind = 0 if every & SYMBOL else REAL
    kind |= ALPHABETIC if some & LETTER else 0
    kind |= MARKS if every & PUNCTUATION else 0
    return kind | CLOSES if end - begin == 1 and every & SENTENCE_END else kind


@compiled
def split_chunk(
    cp: np.ndarray,
    begin: int,
    end: int,
    affixed: bool,
    rules: Rules,
    begins: np.ndarray,
    ends: np.ndarray,
    spare: np.ndarray,
    words: int,
) -> int:
    """Add the words of a chunk behind the `words` that there are; return how many there are now."""
    case = case_of(cp, begin, end, rules.keys)
    if case >= 0:
        return add_case(case, begin, rules.cases, begins, ends, words)
    if not affixed:
        return add(begin, end, begins, ends, words)
    first, tails, stop = words, 0, end
    while begin < end and case < 0:
        head = prefix_length(cp, begin, end, rules.flags)
        if head and case_of(cp, begin + head, end, rules.keys) >= 0:
            tail = 0
        else:
            tail = suffix_length(cp, begin + head, end, rules.flags, rules.units)
            if tail and case_of(cp, begin, end - tail, rules.keys) >= 0:
                head = 0
        if head == 0 and tail == 0:
            break
        if head:
            words = add(begin, begin + head, begins, ends, words)
        if tail:
            spare[tails] = end - tail
            tails += 1
        begin, end = begin + head, end - tail
        case = case_of(cp, begin, end, rules.keys)
    words = split_core(cp, begin, end, case, rules, begins, ends, words)
    for i in range(tails - 1, -1, -1):
        words = add(spare[i], spare[i - 1] if i else stop, begins, ends, words)
    return rejoin(cp, first, words, rules, begins, ends) if words - first > 2 else words


@compiled
def add(begin: int, end: int, begins: np.ndarray, ends: np.ndarray, words: int) -> int:
    begins[words], ends[words] = begin, end
    return words + 1


@compiled
def add_case(case: int, begin: int, cases: np.ndarray, begins: np.ndarray, ends: np.ndarray, words: int) -> int:
    for piece in range(cases[case, 1]):
        words = add(begin, begin + cases[case, 2 + piece], begins, ends, words)
        begin += cases[case, 2 + piece]
    return words


@compiled
def split_core(
    cp: np.ndarray, begin: int, end: int, case: int, rules: Rules, begins: np.ndarray, ends: np.ndarray, words: int
) -> int:
    """Add what is left of a chunk: a special case, an address, or the pieces between its infixes."""
    if begin == end:
        return words
    if case >= 0:
        return add_case(case, begin, rules.cases, begins, ends, words)
    at, start, unsure = begin, begin, True
    while at < end:
        length = infix_length(cp, at, begin, end, rules.flags)
        if length and at > begin:
            if unsure and is_address(cp, begin, end, rules.flags):
                return add(begin, end, begins, ends, words)
            unsure = False
            if at > start:
                words = add(start, at, begins, ends, words)
            words = add(at, at + length, begins, ends, words)
            start = at + length
        at += max(length, 1)
    return add(start, end, begins, ends, words) if start < end else words


@compiled
def rejoin(cp: np.ndarray, first: int, words: int, rules: Rules, begins: np.ndarray, ends: np.ndarray) -> int:
    """Put runs of a chunk's words that make up a special case with marks into that case's own pieces."""
    at = first
    while at < words:
        stop = min(words, at + LONGEST)
        while stop > at + 1:
            case = case_of(cp, begins[at], ends[stop - 1], rules.keys)
            if case >= 0 and rules.cases[case, 0] and rules.cases[case, 1] <= stop - at:
                break
            stop -= 1
        if stop > at + 1:
            pieces = rules.cases[case, 1]
            begin, gone = begins[at], stop - at - pieces
            add_case(case, begin, rules.cases, begins, ends, at)
            for i in range(stop, words):
                begins[i - gone], ends[i - gone] = begins[i], ends[i]
            words -= gone
            at += pieces
        else:
            at += 1
    return words
