"""The kernels that look at a text as C4 does: the sentences of its lines, and the phrases that it looks for there."""

from __future__ import annotations

import numpy as np

from stages.quality.affix_kernel import DOT
from stages.quality.characters import BRACE, BRACKET, SPACE
from stages.quality.compiled_kernel import compiled, inlined
from stages.quality.line_kernel import ends_in_dots, next_line, stripped
from stages.quality.measures import MAX_WORD_LENGTH, MIN_LINE_WORDS, NOTICES
from stages.quality.plain_kernel import lowered
from stages.quality.scan_kernel import LINE_ENDS, LONGEST_CHUNK, SEEN
from stages.quality.word_kernel import CLOSES, MARKS, Rules, Text, split_words

OPENING, CLOSING, CURLY = (ord(c) for c in "[]{")
PHRASES = ("lorem ipsum", "[citation needed]", "[edit]", *NOTICES)
PATTERNS = np.array([[*map(ord, phrase.ljust(20, "\0"))] for phrase in PHRASES], np.int32)
"""What C4 looks for in a line; each row ends with zeros."""
LOREM, CITATION, EDIT, SCRIPT = range(4)
PAIRS = np.zeros((128, 128), np.bool_)
"""How a phrase begins."""
PAIRS[PATTERNS[:, 0], PATTERNS[:, 1]] = True


@compiled
def c4_measures(
    text: Text, length: int, rules: Rules, bare: Text, phrased: bool, tally: np.ndarray, out: np.ndarray
) -> None:
    """Write whether a line that C4 looks at holds "lorem ipsum", or a bracket; and the sentences of lines it keeps.

    `phrased` is false where no line can hold a phrase.
    """
    out[:3] = 0
    cp, at, word, chunks = text.cp, 0, 0, 0
    for line in range(tally[LINE_ENDS] + 1):
        stop = text.line_ends[line]
        if at < length and at <= stop:
            begin, end = stripped(cp, at, stop, rules.flags)
            enough = text.line_chunks[line] - chunks >= MIN_LINE_WORDS
            if enough and is_end(cp[end - 1]) and has_no_long_chunk(cp, begin, end, rules.flags, tally):
                if tally[SEEN] & BRACKET and has(cp, begin, end, OPENING):
                    cited_line(cp, begin, end, rules, bare, tally, out)
                elif is_closed(cp, begin, end):
                    kept_line(text, begin, end, word, text.line_words[line], phrased, tally, out)
        at = next_line(cp, stop, length)
        word, chunks = text.line_words[line], text.line_chunks[line]


@compiled
def cited_line(
    cp: np.ndarray, begin: int, end: int, rules: Rules, bare: Text, tally: np.ndarray, out: np.ndarray
) -> None:
    """Measure a line without its citations, whose words have to be found anew."""
    length = without_citations(cp, begin, end, bare.cp)
    if is_closed(bare.cp, 0, length):
        kept_line(bare, 0, length, 0, split_words(bare, length, rules), True, tally, out)


@compiled
def kept_line(
    text: Text, begin: int, end: int, first: int, last: int, phrased: bool, tally: np.ndarray, out: np.ndarray
) -> None:
    found = phrases_in(text.cp, begin, end) if phrased else 0
    if found & 1 << LOREM:
        out[0] = 1
    if found & 1 << SCRIPT:
        return
    if tally[SEEN] & BRACE and has(text.cp, begin, end, CURLY):
        out[1] = 1
    if found >> SCRIPT == 0:
        out[2] += sentences(text, first, last)


@compiled
def sentences(text: Text, first: int, last: int) -> int:
    count, closed = 1, False
    for word in range(first, last):
        kind = text.kinds[word]
        if closed and (not kind & (MARKS | CLOSES) or is_wide(text.cp, text.ends[word - 1], text.begins[word])):
            count, closed = count + 1, False
        closed = closed or kind & CLOSES != 0
    return count


@compiled
def is_wide(cp: np.ndarray, begin: int, end: int) -> bool:
    """True where white space between two words is more than one space."""
    return end - begin > 1 or (end - begin == 1 and cp[begin] != 32)


@compiled
def has_no_long_chunk(cp: np.ndarray, begin: int, end: int, flags: np.ndarray, tally: np.ndarray) -> bool:
    """True where no chunk of a line is too long."""
    if tally[LONGEST_CHUNK] <= MAX_WORD_LENGTH:
        return True
    run = 0
    for i in range(begin, end):
        run = 0 if flags[cp[i]] & SPACE else run + 1
        if run > MAX_WORD_LENGTH:
            return False
    return True


@compiled
def is_closed(cp: np.ndarray, begin: int, end: int) -> bool:
    return begin < end and cp[end - 1] != CLOSING and is_end(cp[end - 1]) and not ends_in_dots(cp, begin, end)


@compiled
def is_end(c: int) -> bool:
    """True for a mark that closes a sentence to C4, and for the bracket that closes a citation behind one."""
    return c in (DOT, 63, 33, 34, 39, CLOSING)


@compiled
def has(cp: np.ndarray, begin: int, end: int, c: int) -> bool:
    for i in range(begin, end):  # noqa: SIM110  numba knows no generators
        if cp[i] == c:
            return True
    return False


@compiled
def without_citations(cp: np.ndarray, begin: int, end: int, target: np.ndarray) -> int:
    """Copy a line without "[1]", "[edit]" and "[citation needed]"; return the copy's length."""
    i, length = begin, 0
    while i < end:
        skip = citation_length(cp, i, end) if cp[i] == OPENING else 0
        if skip == 0:
            target[length] = cp[i]
            length += 1
        i += max(skip, 1)
    return length


@compiled
def citation_length(cp: np.ndarray, at: int, end: int) -> int:
    i = at + 1
    while i < end and 48 <= cp[i] <= 57:
        i += 1
    if i < end and cp[i] == 93:
        return i + 1 - at
    if stands_at(cp, at, end, PATTERNS[EDIT], False):
        return 6
    return 17 if stands_at(cp, at, end, PATTERNS[CITATION], False) else 0


@compiled
def phrases_in(cp: np.ndarray, begin: int, end: int) -> int:
    """Return which of `PHRASES` stand in a text, whatever their case there, as bits."""
    found = 0
    for i in range(begin, end - 1):
        first, second = lowered(cp[i]), lowered(cp[i + 1])
        if first < 128 and second < 128 and PAIRS[first, second]:
            for phrase in range(len(PATTERNS)):
                if stands_at(cp, i, end, PATTERNS[phrase], True):
                    found |= 1 << phrase
    return found


@compiled
def stands_at(cp: np.ndarray, at: int, end: int, phrase: np.ndarray, any_case: bool) -> bool:
    for k in range(len(phrase)):
        if phrase[k] == 0:
            return True
        if at + k >= end or (lowered(cp[at + k]) if any_case else cp[at + k]) != phrase[k]:
            return False
    return True


@inlined
def may_hold_phrase(data: np.ndarray) -> bool:
    """False for UTF-8 that holds no phrase: by "java", "m ip", "f us", "ivac", "kie", and by the sign of kelvins."""
    some = False
    for i in range(len(data) - 3):
        a, b, c, d = data[i] | 32, data[i + 1] | 32, data[i + 2] | 32, data[i + 3] | 32
        some |= (a == 106) & (b == 97) & (c == 118) & (d == 97) | (a == 109) & (b == 32) & (c == 105) & (d == 112)
        some |= (a == 102) & (b == 32) & (c == 117) & (d == 115) | (a == 105) & (b == 118) & (c == 97) & (d == 99)
        some |= (a == 107) & (b == 105) & (c == 101) | (a == 164) & (b == 170)
    return some
