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
from stages.quality.word_kernel import ALPHABETIC, REAL, Rules, Text, kind_of, may_be_case, split_chunk, word_kind

HASH = ord("#")
CONSONANT_BIT = CONSONANT.bit_length() - 1
MASKED = 64
"""Characters of the longest chunk whose consonants are known."""
STOPS = np.array([text_hash(map(ord, word)) for word in STOP_WORDS], np.uint64)
VISIBLE, ODD, LETTERS, CAPITALS, HASHES, ELLIPSES, PLAIN_WORDS, LATIN_WORDS, UNPRONOUNCEABLE = range(9)
WORDS, REAL_WORDS, REAL_CHARACTERS, ALPHABETIC_WORDS, STOPS_SEEN = range(9, 14)
CHUNKS, LONGEST_CHUNK, LINE_ENDS, SEEN, TALLIES = range(14, 19)
"""Places in `tally`; the last is how many there are."""


class Chunk(NamedTuple):
    """What is known of the characters since the last white space."""

    some: int
    """Bits that any of them has."""
    every: int
    all_before: int
    """Bits that every one has, and every one but the last."""
    key: np.uint64
    key_before: np.uint64
    """Their hash, and that of all but the last."""
    consonants: np.uint64
    """Which of the last 64 are Latin consonants."""


@compiled
def scan(text: Text, length: int, rules: Rules, folds: np.ndarray, tally: np.ndarray) -> None:
    """Write a text's words, plain words and ends of lines, and `tally`; behind the text stands a space."""
    tally[:] = 0
    begin, chunk = 0, no_characters()
    for i in range(length + 1):
        c = text.cp[i]
        bits = np.int64(rules.flags[c])
        if not bits & SPACE:
            chunk = lengthened(chunk, c, bits)
            continue
        if begin < i:
            end_chunk(text, begin, i, chunk, rules, folds, tally)
            chunk = no_characters()
        begin = i + 1
        if bits & LINE_END:
            end_line(text, i, tally)
    end_line(text, length, tally)
    tally[LINE_ENDS] -= 1


@inlined
def no_characters() -> Chunk:
    return Chunk(0, -1, -1, np.uint64(0), np.uint64(0), np.uint64(0))


@inlined
def lengthened(chunk: Chunk, c: int, bits: int) -> Chunk:
    key = chunk.key * np.uint64(PRIME) + np.uint64(c) + np.uint64(1)
    consonants = chunk.consonants << np.uint64(1) | np.uint64(bits >> CONSONANT_BIT & 1)
    return Chunk(chunk.some | bits, chunk.every & bits, chunk.every, key, chunk.key, consonants)


@inlined
def end_line(text: Text, at: int, tally: np.ndarray) -> None:
    line = tally[LINE_ENDS]
    text.line_ends[line], text.line_words[line], text.line_chunks[line] = at, tally[WORDS], tally[CHUNKS]
    tally[LINE_ENDS] += 1


@inlined
def end_chunk(
    text: Text, begin: int, end: int, chunk: Chunk, rules: Rules, folds: np.ndarray, tally: np.ndarray
) -> None:
    tally[CHUNKS] += 1
    tally[VISIBLE] += end - begin
    tally[LONGEST_CHUNK] = max(tally[LONGEST_CHUNK], end - begin)
    tally[SEEN] |= chunk.some
    stop = latin_stop(text.cp, begin, end, chunk, rules)
    if stop == begin:
        add_other(text, begin, end, chunk.some, rules, folds, tally)
    elif stop == end:
        add_latin(text, begin, end, chunk.key, chunk.consonants, chunk.some, tally)
    else:
        add_latin(text, begin, stop, chunk.key_before, chunk.consonants >> np.uint64(1), chunk.some, tally)
        add_mark(text, stop, rules.flags, tally)


@inlined
def latin_stop(cp: np.ndarray, begin: int, end: int, chunk: Chunk, rules: Rules) -> int:
    """Return where the word ends that a chunk is, but for a mark behind it; `begin` where the rules must say."""
    if end - begin > MASKED or may_be_case(chunk.key, rules.sieve):
        return begin
    if chunk.every & LATIN:
        return end
    if end - begin == 1 or not chunk.all_before & LATIN or may_be_case(chunk.key_before, rules.sieve):
        return begin
    bits = rules.flags[cp[end - 1]]
    parts = rules.flags[cp[end - 2]] & BEFORE_DOT if cp[end - 1] == DOT else bits & SUFFIX
    return end - 1 if parts and not bits & WORD else begin


@inlined
def add_latin(
    text: Text, begin: int, end: int, key: np.uint64, consonants: np.uint64, some: int, tally: np.ndarray
) -> None:
    """Add a word of Latin letters, which is a plain word too."""
    add_word(text, begin, end, key, REAL | ALPHABETIC, tally)
    text.plain[tally[PLAIN_WORDS]] = small_hash(text.cp, begin, end, tally) if some & UPPER else key
    tally[PLAIN_WORDS] += 1
    tally[LETTERS] += end - begin
    if end - begin >= LATIN_LETTERS:
        pairs = consonants & consonants >> np.uint64(1)
        tally[LATIN_WORDS] += 1
        tally[UNPRONOUNCEABLE] += pairs & pairs >> np.uint64(2) != 0


@inlined
def small_hash(cp: np.ndarray, begin: int, end: int, tally: np.ndarray) -> np.uint64:
    """Return the hash of Latin letters in lower case, and count the capitals."""
    key = np.uint64(0)
    for i in range(begin, end):
        key = key * np.uint64(PRIME) + np.uint64((cp[i] | 32) + 1)
        tally[CAPITALS] += cp[i] < 97
    return key


@inlined
def add_word(text: Text, begin: int, end: int, key: np.uint64, kind: int, tally: np.ndarray) -> None:
    word = tally[WORDS]
    text.begins[word], text.ends[word], text.ids[word], text.kinds[word] = begin, end, key, kind
    tally[WORDS] += 1
    count_word(end - begin, key, kind, tally)


@inlined
def count_word(size: int, key: np.uint64, kind: int, tally: np.ndarray) -> None:
    tally[REAL_WORDS] += kind & REAL != 0
    tally[REAL_CHARACTERS] += size if kind & REAL else 0
    tally[ALPHABETIC_WORDS] += kind & ALPHABETIC != 0
    stops = 0
    for k in range(len(STOPS)):
        stops |= (STOPS[k] == key) << k
    tally[STOPS_SEEN] |= stops


@inlined
def add_mark(text: Text, at: int, flags: np.ndarray, tally: np.ndarray) -> None:
    """Add a mark that is a word of its own."""
    c = text.cp[at]
    add_word(text, at, at + 1, np.uint64(c + 1), kind_of(flags[c], flags[c], 1), tally)
    count_character(c, flags, tally)


@inlined
def count_character(c: int, flags: np.ndarray, tally: np.ndarray) -> None:
    bits = flags[c]
    tally[ODD] += bits & (ALNUM | PROSE | MARK) == 0
    tally[LETTERS] += bits & LETTER != 0
    tally[CAPITALS] += bits & (UPPER | LETTER) == UPPER | LETTER
    tally[HASHES] += c == HASH
    tally[ELLIPSES] += c == ELLIPSIS


@compiled
def add_other(text: Text, begin: int, end: int, some: int, rules: Rules, folds: np.ndarray, tally: np.ndarray) -> None:
    """Add the words and plain words of a chunk as the rules have them."""
    first = tally[WORDS]
    tally[WORDS] = split_chunk(text, begin, end, some & AFFIX != 0, rules, first)
    for word in range(first, tally[WORDS]):
        start, stop = text.begins[word], text.ends[word]
        text.ids[word] = hashed(text.cp, start, stop)
        text.kinds[word] = word_kind(text.cp, start, stop, rules.flags)
        count_word(stop - start, text.ids[word], text.kinds[word], tally)
    tally[PLAIN_WORDS] = plain_words(text.cp, begin, end, rules.flags, folds, text.plain, tally[PLAIN_WORDS])
    words, hard = latin_words(text.cp, begin, end)
    tally[LATIN_WORDS] += words
    tally[UNPRONOUNCEABLE] += hard
    count_characters(text.cp, begin, end, rules.flags, tally)


@inlined
def count_characters(cp: np.ndarray, begin: int, end: int, flags: np.ndarray, tally: np.ndarray) -> None:
    """Count a chunk's characters; three dots are one ellipsis."""
    dots = 0
    for i in range(begin, end):
        count_character(cp[i], flags, tally)
        dots = dots + 1 if cp[i] == DOT else 0
        if dots == 3:
            tally[ELLIPSES] += 1
            dots = 0
