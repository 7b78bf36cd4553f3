"""The kernel that splits code points into words and sentences; `stages.quality.english` is its definition.

Texts are uint32 arrays of code points, `flags` is the table of `stages.quality.characters`, positions are half open.
Nothing here is quadratic in a chunk's length, so that a row of one endless word costs no more than any other.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from stages.quality import characters
from stages.quality.address_kernel import is_address
from stages.quality.affix_kernel import SPREAD, hashed, infix_length, prefix_length, suffix_length, text_hash
from stages.quality.characters import AFFIX, LETTER, PUNCTUATION, SENTENCE_END, SPACE, SYMBOL
from stages.quality.compiled_kernel import compiled, inlined
from stages.quality.english import LONGEST, marked_cases, rules
from stages.quality.measures import STOP_WORDS

SLOTS = 8192
KNOWN_BITS, MAY_BE_CASE = 15, 255
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
    known: np.ndarray
    """At the places of their hashes, what a word may be: a special case, or a stop word by its number; uint8."""


class Text(NamedTuple):
    """Room for a text, its words and its lines."""

    cp: np.ndarray
    """Code points; uint32."""
    begins: np.ndarray
    ends: np.ndarray
    """Of words, as all positions int32."""
    kinds: np.ndarray
    """Of words; uint8."""
    ids: np.ndarray
    plain: np.ndarray
    """Hashes of words, and of plain words; uint64."""
    line_ends: np.ndarray
    line_words: np.ndarray
    line_chunks: np.ndarray
    """Where each line ends, and how many words and chunks stand before that."""
    spare: np.ndarray
    other: np.ndarray
    """Room for positions."""


def text_room(size: int) -> Text:
    """Return room for a text of `size` bytes."""
    cp, kinds = np.empty(size + 1, np.uint32), np.empty(size + 1, np.uint8)
    ids, plain = np.empty((2, size + 1), np.uint64)
    begins, ends, *lines_and_rest = np.empty((7, size + 1), np.int32)
    return Text(cp, begins, ends, kinds, ids, plain, *lines_and_rest)


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
    return Rules(characters.table(), keys, cases, units, known_words(keys[keys != 0]))


def known_words(cases: np.ndarray) -> np.ndarray:
    """Return `Rules.known` of the hashes of special cases; where a stop word falls together with one, the case."""
    known = np.zeros(2**KNOWN_BITS, np.uint8)
    for i, word in enumerate(STOP_WORDS, 1):
        known[text_hash(map(ord, word)) * SPREAD % 2**64 >> (64 - KNOWN_BITS)] = i
    known[cases * np.uint64(SPREAD) >> np.uint64(64 - KNOWN_BITS)] = MAY_BE_CASE
    return known


@inlined
def known_word(key: np.uint64, known: np.ndarray) -> np.int64:
    """Return `MAY_BE_CASE`, the number of the stop word that a word may be, or 0."""
    return np.int64(known[key * np.uint64(SPREAD) >> np.uint64(64 - KNOWN_BITS)])


@inlined
def case_of(cp: np.ndarray, begin: int, end: int, rules: Rules) -> np.int64 | int:
    """Return the slot of the special case that stands there, or -1."""
    return find_case(cp, begin, end, rules.known, rules.keys) if 0 < end - begin <= LONGEST else -1


@compiled
def find_case(cp: np.ndarray, begin: int, end: int, known: np.ndarray, keys: np.ndarray) -> np.int64 | int:
    key = hashed(cp, begin, end)
    if known_word(key, known) < MAY_BE_CASE:
        return -1
    slot = np.int64(key % np.uint64(SLOTS))
    while keys[slot] != 0:
        if keys[slot] == key:
            return slot
        slot = (slot + 1) % SLOTS
    return -1


@compiled
def split_words(text: Text, length: int, rules: Rules) -> int:
    """Write where each word begins and ends, in order, and of what kind it is; return how many there are."""
    words = i = 0
    while i < length:
        if rules.flags[text.cp[i]] & SPACE:
            i += 1
            continue
        start, seen = i, np.uint32(0)
        while i < length and not rules.flags[text.cp[i]] & SPACE:
            seen |= rules.flags[text.cp[i]]
            i += 1
        words = split_chunk(text, start, i, seen & AFFIX != 0, rules, words)
    for word in range(words):
        text.kinds[word] = word_kind(text.cp, text.begins[word], text.ends[word], rules.flags)
    return words


@inlined
def word_kind(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> int:
    """Return the bits `REAL`, `ALPHABETIC`, `MARKS` and `CLOSES` of a word."""
    some = every = flags[cp[begin]]
    for i in range(begin + 1, end):
        some |= flags[cp[i]]
        every &= flags[cp[i]]
    return kind_of(some, every, end - begin)


@inlined
def kind_of(some: int, every: int, size: int) -> int:
    """Return the kind of a word by the bits that some and all of its characters have."""
    kind = 0 if every & SYMBOL else REAL
    kind |= ALPHABETIC if some & LETTER else 0
    kind |= MARKS if every & PUNCTUATION else 0
    return kind | CLOSES if size == 1 and every & SENTENCE_END else kind


@compiled
def split_chunk(text: Text, begin: int, end: int, affixed: bool, rules: Rules, words: int) -> int:
    """Add the words of a chunk behind the `words` that there are; return how many there are now."""
    cp = text.cp
    case = case_of(cp, begin, end, rules)
    if case >= 0:
        return add_case(text, case, begin, rules, words)
    if not affixed:
        return add(text, begin, end, words)
    first, tails, stop = words, 0, end
    while begin < end and case < 0:
        head = prefix_length(cp, begin, end, rules.flags)
        if head and case_of(cp, begin + head, end, rules) >= 0:
            tail = 0
        else:
            tail = suffix_length(cp, begin + head, end, rules.flags, rules.units)
            if tail and case_of(cp, begin, end - tail, rules) >= 0:
                head = 0
        if head == 0 and tail == 0:
            break
        if head:
            words = add(text, begin, begin + head, words)
        if tail:
            text.spare[tails] = end - tail
            tails += 1
        begin, end = begin + head, end - tail
        case = case_of(cp, begin, end, rules)
    words = split_core(text, begin, end, case, rules, words)
    for i in range(tails - 1, -1, -1):
        words = add(text, text.spare[i], text.spare[i - 1] if i else stop, words)
    return rejoin(text, first, words, rules) if words - first > 2 else words


@inlined
def add(text: Text, begin: int, end: int, words: int) -> int:
    text.begins[words], text.ends[words] = begin, end
    return words + 1


@inlined
def add_case(text: Text, case: int, begin: int, rules: Rules, words: int) -> int:
    for piece in range(rules.cases[case, 1]):
        words = add(text, begin, begin + rules.cases[case, 2 + piece], words)
        begin += rules.cases[case, 2 + piece]
    return words


@inlined
def split_core(text: Text, begin: int, end: int, case: int, rules: Rules, words: int) -> int:
    """Add what is left of a chunk: a special case, an address, or the pieces between its infixes."""
    if begin == end:
        return words
    if case >= 0:
        return add_case(text, case, begin, rules, words)
    at, start, unsure = begin, begin, True
    while at < end:
        length = infix_length(text.cp, at, begin, end, rules.flags)
        if length and at > begin:
            if unsure and is_address(text.cp, begin, end, rules.flags):
                return add(text, begin, end, words)
            unsure = False
            if at > start:
                words = add(text, start, at, words)
            words = add(text, at, at + length, words)
            start = at + length
        at += max(length, 1)
    return add(text, start, end, words) if start < end else words


@inlined
def rejoin(text: Text, first: int, words: int, rules: Rules) -> int:
    """Put runs of a chunk's words that make up a special case with marks into that case's own pieces."""
    begins, ends, at = text.begins, text.ends, first
    while at < words:
        stop = min(words, at + LONGEST)
        while stop > at + 1:
            case = case_of(text.cp, begins[at], ends[stop - 1], rules)
            if case >= 0 and rules.cases[case, 0] and rules.cases[case, 1] <= stop - at:
                break
            stop -= 1
        if stop > at + 1:
            pieces = rules.cases[case, 1]
            begin, gone = begins[at], stop - at - pieces
            add_case(text, case, begin, rules, at)
            for i in range(stop, words):
                begins[i - gone], ends[i - gone] = begins[i], ends[i]
            words -= gone
            at += pieces
        else:
            at += 1
    return words
