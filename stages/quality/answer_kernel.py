"""The kernel of our own measures of an answer: `ANSWER` in `stages.quality.measures`."""

from __future__ import annotations

import numpy as np

from stages.quality.affix_kernel import COMMA, DOT, HYPHEN, is_digit, run_of, text_hash
from stages.quality.characters import CLOSE, LETTER, SPACE
from stages.quality.compiled_kernel import compiled
from stages.quality.gram_kernel import NEWLINE, Groups, group, joined
from stages.quality.line_kernel import share, stripped
from stages.quality.measures import DANGLING
from stages.quality.plain_kernel import plain_words
from stages.quality.scan_kernel import (
    CAPITALS,
    HASH,
    LATIN_WORDS,
    LETTERS,
    ODD,
    PLAIN_WORDS,
    UNPRONOUNCEABLE,
    VISIBLE,
)
from stages.quality.word_kernel import Text

DANGLES = np.array(sorted(text_hash(map(ord, word)) for word in DANGLING), np.uint64)


@compiled
def answer_measures(
    text: Text, length: int, flags: np.ndarray, folds: np.ndarray, groups: Groups, tally: np.ndarray, out: np.ndarray
) -> None:
    """Write the measures of a text that was scanned; its plain words are lost."""
    begin, end = stripped(text.cp, 0, length, flags)
    plain, latin = tally[PLAIN_WORDS], tally[LATIN_WORDS]
    triples = max(plain - 2, 0)
    for i in range(triples):
        groups.keys[i] = joined(joined(text.plain[i], text.plain[i + 1]), text.plain[i + 2])
    out[0], out[1] = end - begin, plain
    out[2], out[3] = share(tally[ODD], tally[VISIBLE]), share(group(groups, triples), triples)
    out[4] = share(tally[CAPITALS], tally[LETTERS])
    out[5], out[6] = latin, share(tally[UNPRONOUNCEABLE], latin)
    out[7] = open_words(text.cp, end, flags, folds, text.plain)


@compiled
def open_words(cp: np.ndarray, end: int, flags: np.ndarray, folds: np.ndarray, ids: np.ndarray) -> float:
    """Return how many words stand in a last sentence that was not closed; `end` is without white space behind."""
    if end == 0:
        return 0.0
    last, line = cp[end - 1], end
    while line > 0 and cp[line - 1] != NEWLINE:
        line -= 1
    if flags[last] & CLOSE or is_list_line(cp, line, end, flags) or has_fence(cp, line, end):
        return 0.0
    if not (flags[last] & LETTER or last == HYPHEN):
        return np.inf if last == COMMA else 0.0
    words = plain_words(cp, line, end, flags, folds, ids, 0)
    if words > 3 and dangles(ids[words - 1]):
        return np.inf
    breaks, tail = sentence_breaks(cp, line, end, flags)
    return np.float64(plain_words(cp, tail, end, flags, folds, ids, 0)) if breaks > 1 else 0.0


@compiled
def dangles(key: np.uint64) -> bool:
    at = np.searchsorted(DANGLES, key)
    return bool(at < len(DANGLES) and DANGLES[at] == key)


@compiled
def sentence_breaks(cp: np.ndarray, line: int, end: int, flags: np.ndarray) -> tuple[int, int]:
    """Return how many sentences end before the last one, and where the last one of the line begins."""
    breaks, tail = 0, line
    for i in range(end - 1):
        if (cp[i] == DOT or cp[i] == 33 or cp[i] == 63) and flags[cp[i + 1]] & SPACE:
            breaks += 1
            tail = max(tail, i + 2)
    return breaks, tail


@compiled
def is_list_line(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> bool:
    """True where a line begins as an item, a heading or a row of a table."""
    i = begin
    while i < end and flags[cp[i]] & SPACE:
        i += 1
    if i == end:
        return False
    c, after = cp[i], i + 1
    if c == 124:
        return True
    if c == HASH:
        after = i + run_of(cp, i, end, HASH)
    elif is_digit(c):
        while after < end and is_digit(cp[after]):
            after += 1
        if after == end or (cp[after] != DOT and cp[after] != 41):
            return False
        after += 1
    elif c != HYPHEN and c != 42 and c != 0x2022 and c != 0x2013:
        return False
    return after < end and flags[cp[after]] & SPACE != 0


@compiled
def has_fence(cp: np.ndarray, begin: int, end: int) -> bool:
    """True where three backticks stand in a line."""
    run = 0
    for i in range(begin, end):
        run = run + 1 if cp[i] == 96 else 0
        if run == 3:
            return True
    return False
