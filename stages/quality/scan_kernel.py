"""The kernel that goes over a text's characters once: it finds the words and the lines, and counts as it goes.

Most chunks between white space are a word of Latin letters, with a mark behind it or none. What is to be known of such
a chunk is gathered on the way to its end; others are looked at anew, by the rules.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.quality.affix_kernel import DOT, ELLIPSIS, PRIME, hashed, text_hash
from stages.quality.characters import (
    AFFIX,
    ALNUM,
    BEFORE_DOT,
    CONSONANT,
    LATIN,
    LETTER,
    LINE_END,
    MARK,
    PROSE,
    SPACE,
    SUFFIX,
    UPPER,
    WORD,
)
from stages.quality.compiled_kernel import compiled, inlined
from stages.quality.measures import STOP_WORDS
from stages.quality.plain_kernel import LATIN_LETTERS, latin_words, plain_words
from stages.quality.word_kernel import (
    ALPHABETIC,
    MAY_BE_CASE,
    REAL,
    Rules,
    Text,
    kind_of,
    known_word,
    split_chunk,
    word_kind,
)

HASH = ord("#")
CONSONANT_BIT = CONSONANT.bit_length() - 1
"""The highest, so that a shift leaves it alone."""
INVERSE = pow(PRIME, -1, 2**64)
"""Takes the last character out of a hash."""
MASKED = 64
"""Characters of the longest chunk whose consonants are known."""
STOPS = np.array([0, *(text_hash(map(ord, word)) for word in STOP_WORDS)], np.uint64)
"""Hashes of stop words; no word has the first."""
LATIN_CHUNKS, OTHER_CHUNKS, LONGEST_CHUNK, LINE_ENDS, SEEN = range(5)
VISIBLE, ODD, LETTERS, CAPITALS, HASHES, ELLIPSES, PLAIN_WORDS, LATIN_WORDS, UNPRONOUNCEABLE = range(5, 14)
WORDS, REAL_WORDS, REAL_CHARACTERS, ALPHABETIC_WORDS, STOPS_SEEN, TALLIES = range(14, 20)
"""Places in `tally`; the last is how many there are."""


class Chunk(NamedTuple):
    """What is known of the characters since the last white space."""

    some: int
    """Bits that any of them has."""
    every: int
    all_before: int
    """Bits that every one has, and every one but the last."""
    key: np.uint64
    """Their hash."""
    consonants: np.uint64
    """Which of the last 64 are Latin consonants."""


@compiled
def scan(text: Text, length: int, rules: Rules, folds: np.ndarray, tally: np.ndarray) -> None:
    """Write a text's words, plain words and ends of lines, and `tally`; behind the text stands a space."""
    tally[:] = 0
    at, latin = np.uint64(0), 0
    while at <= np.uint64(length):
        begin, chunk = at, no_characters()
        bits = np.int64(rules.flags[text.cp[at]])
        while not bits & SPACE:
            chunk = lengthened(chunk, text.cp[at], bits)
            at += np.uint64(1)
            bits = np.int64(rules.flags[text.cp[at]])
        if begin < at:
            latin += end_chunk(text, np.int64(begin), np.int64(at), chunk, rules, folds, tally)
        if bits & LINE_END:
            end_line(text, np.int64(at), tally)
        at += np.uint64(1)
    end_line(text, length, tally)
    tally[LINE_ENDS] -= 1
    for count in (VISIBLE, LETTERS, REAL_CHARACTERS):
        tally[count] += latin
    for count in (REAL_WORDS, ALPHABETIC_WORDS):
        tally[count] += tally[LATIN_CHUNKS]


@inlined
def no_characters() -> Chunk:
    return Chunk(0, -1, -1, np.uint64(0), np.uint64(0))


@inlined
def lengthened(chunk: Chunk, c: int, bits: int) -> Chunk:
    key = chunk.key * np.uint64(PRIME) + np.uint64(c) + np.uint64(1)
    consonants = chunk.consonants << np.uint64(1) | np.uint64(bits >> CONSONANT_BIT)
    return Chunk(chunk.some | bits, chunk.every & bits, chunk.every, key, consonants)


@inlined
def end_line(text: Text, at: int, tally: np.ndarray) -> None:
    line = tally[LINE_ENDS]
    text.line_ends[line], text.line_words[line] = at, tally[WORDS]
    text.line_chunks[line] = tally[LATIN_CHUNKS] + tally[OTHER_CHUNKS]
    tally[LINE_ENDS] += 1


@inlined
def end_chunk(
    text: Text, begin: int, end: int, chunk: Chunk, rules: Rules, folds: np.ndarray, tally: np.ndarray
) -> int:
    """Add a chunk's words; return the characters of a word of Latin letters that is all of it, but for a mark."""
    if chunk.every & LATIN and end - begin <= MASKED:
        known = known_word(chunk.key, rules.known)
        if known < MAY_BE_CASE:
            return add_latin(text, begin, end, chunk.key, known, chunk.consonants, chunk.some, tally)
    elif chunk.all_before & LATIN and 1 < end - begin <= MASKED and parts(text.cp, end, rules.flags):
        key = (chunk.key - np.uint64(1) - np.uint64(text.cp[end - 1])) * np.uint64(INVERSE)
        known = known_word(key, rules.known)
        if known < MAY_BE_CASE and known_word(chunk.key, rules.known) < MAY_BE_CASE:
            add_latin(text, begin, end - 1, key, known, chunk.consonants >> np.uint64(1), chunk.some, tally)
            add_mark(text, end - 1, rules.flags, tally)
            return end - 1 - begin
    add_other(text, begin, end, chunk.some, rules, folds, tally)
    return 0


@inlined
def parts(cp: np.ndarray, end: int, flags: np.ndarray) -> int:
    """True where the last character is a mark that is parted from a Latin letter before it."""
    bits = flags[cp[end - 1]]
    if cp[end - 1] == DOT:
        return flags[cp[end - 2]] & BEFORE_DOT != 0
    return bits & (SUFFIX | WORD) == SUFFIX


@inlined
def add_latin(
    text: Text, begin: int, end: int, key: np.uint64, known: int, consonants: np.uint64, some: int, tally: np.ndarray
) -> int:
    """Add a word of Latin letters, which is a plain word too; return how many there are."""
    word, plain = np.uint64(tally[WORDS]), np.uint64(tally[PLAIN_WORDS])
    text.begins[word], text.ends[word], text.ids[word], text.kinds[word] = begin, end, key, REAL | ALPHABETIC
    text.plain[plain] = small_hash(text.cp, begin, end, tally) if some & UPPER else key
    for count in (WORDS, PLAIN_WORDS, LATIN_CHUNKS):
        tally[count] += 1
    tally[STOPS_SEEN] |= (STOPS[known] == key) << known
    pairs = consonants & consonants >> np.uint64(1)
    tally[LATIN_WORDS] += end - begin >= LATIN_LETTERS
    tally[UNPRONOUNCEABLE] += pairs & pairs >> np.uint64(2) != 0
    return end - begin


@inlined
def small_hash(cp: np.ndarray, begin: int, end: int, tally: np.ndarray) -> np.uint64:
    """Return the hash of Latin letters in lower case, and count the capitals."""
    key, capitals = np.uint64(0), 0
    for i in range(begin, end):
        key = key * np.uint64(PRIME) + np.uint64((cp[i] | 32) + 1)
        capitals += cp[i] < 97
    tally[CAPITALS] += capitals
    return key


@inlined
def add_mark(text: Text, at: int, flags: np.ndarray, tally: np.ndarray) -> None:
    """Add a mark that is a word of its own."""
    c = text.cp[at]
    word, kind = tally[WORDS], kind_of(flags[c], flags[c], 1)
    text.begins[word], text.ends[word], text.ids[word], text.kinds[word] = at, at + 1, np.uint64(c + 1), kind
    tally[WORDS] += 1
    count_word(1, kind, tally)
    count_characters(text.cp, at, at + 1, flags, tally)


@inlined
def count_word(size: int, kind: int, tally: np.ndarray) -> None:
    tally[REAL_WORDS] += kind & REAL != 0
    tally[REAL_CHARACTERS] += size if kind & REAL else 0
    tally[ALPHABETIC_WORDS] += kind & ALPHABETIC != 0


@inlined
def add_other(text: Text, begin: int, end: int, some: int, rules: Rules, folds: np.ndarray, tally: np.ndarray) -> None:
    """Add the words and plain words of a chunk as the rules have them."""
    tally[OTHER_CHUNKS] += 1
    tally[LONGEST_CHUNK] = max(tally[LONGEST_CHUNK], end - begin)
    first = tally[WORDS]
    tally[WORDS] = split_chunk(text, begin, end, some & AFFIX != 0, rules, first)
    for word in range(first, tally[WORDS]):
        start, stop = text.begins[word], text.ends[word]
        text.ids[word] = hashed(text.cp, start, stop)
        text.kinds[word] = word_kind(text.cp, start, stop, rules.flags)
        count_word(stop - start, text.kinds[word], tally)
        if stop - start < 5:
            for k in range(1, len(STOPS)):
                tally[STOPS_SEEN] |= (STOPS[k] == text.ids[word]) << k
    tally[PLAIN_WORDS] = plain_words(text.cp, begin, end, rules.flags, folds, text.plain, tally[PLAIN_WORDS])
    if some & LETTER:
        words, hard = latin_words(text.cp, begin, end, rules.flags)
        tally[LATIN_WORDS] += words
        tally[UNPRONOUNCEABLE] += hard
    count_characters(text.cp, begin, end, rules.flags, tally)


@inlined
def count_characters(cp: np.ndarray, begin: int, end: int, flags: np.ndarray, tally: np.ndarray) -> None:
    """Count what is no Latin word; three dots are one ellipsis."""
    odd = letters = capitals = hashes = ellipses = dots = 0
    seen = np.int64(0)
    for i in range(begin, end):
        c, bits = cp[i], np.int64(flags[cp[i]])
        seen |= bits
        odd += bits & (ALNUM | PROSE | MARK) == 0
        letters += bits & LETTER != 0
        capitals += bits & (UPPER | LETTER) == UPPER | LETTER
        hashes += c == HASH
        dots = dots + 1 if c == DOT else 0
        ellipses += c == ELLIPSIS or (dots > 0 and dots % 3 == 0)
    tally[VISIBLE] += end - begin
    tally[SEEN] |= seen
    for count, n in ((ODD, odd), (LETTERS, letters), (CAPITALS, capitals), (HASHES, hashes), (ELLIPSES, ellipses)):
        tally[count] += n
