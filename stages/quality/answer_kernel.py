"""The kernel of our own measures of an answer: `ANSWER` in `stages.quality.measures`."""

from __future__ import annotations

import numpy as np

from stages.quality.affix_kernel import COMMA, DOT, HYPHEN, PRIME, is_digit, run_of, text_hash
from stages.quality.characters import ALNUM, CLOSE, LETTER, MARK, PROSE, SPACE, UPPER, WORD
from stages.quality.compiled_kernel import compiled
from stages.quality.gram_kernel import NEWLINE, Groups, group, mixed
from stages.quality.line_kernel import HASH, lowered, share, stripped
from stages.quality.measures import DANGLING

DANGLES = np.array(sorted(text_hash(map(ord, word)) for word in DANGLING), np.uint64)
CONSONANT = np.array([chr(c) in "bcdfghjklmnpqrstvwxz" for c in range(128)])
DOTTED_I = 0x130
"""Its small form is an i and a dot above, and there a Latin word ends."""
LATIN_LETTERS = CONSONANTS = 4
"""Letters of the shortest word that can be unpronounceable, and consonants in a row that make it so."""


@compiled
def answer_measures(
    cp: np.ndarray, length: int, flags: np.ndarray, folds: np.ndarray, ids: np.ndarray, groups: Groups, out: np.ndarray
) -> None:
    begin, end = stripped(cp, 0, length, flags)
    plain = plain_words(cp, 0, length, flags, folds, ids)
    for i in range(plain - 2):
        groups.keys[i] = mixed(mixed(ids[i], ids[i + 1]), ids[i + 2])
    triples = max(plain - 2, 0)
    latin, unpronounceable = latin_words(cp, length)
    out[0], out[1] = end - begin, plain
    out[2], out[4] = character_shares(cp, length, flags)
    out[3] = share(group(groups, triples), triples)
    out[5], out[6] = latin, share(unpronounceable, latin)
    out[7] = open_words(cp, end, flags, folds, ids)


@compiled
def plain_words(cp: np.ndarray, begin: int, end: int, flags: np.ndarray, folds: np.ndarray, ids: np.ndarray) -> int:
    """Write the hash of each run of word characters in lower case; return how many there are."""
    words, inside = 0, False
    for i in range(begin, end):
        c = cp[i]
        if not flags[c] & WORD:
            inside = False
            continue
        if not inside:
            ids[words], inside = 0, True
            words += 1
        small = folds[c] if c < len(folds) else c
        ids[words - 1] = ids[words - 1] * np.uint64(PRIME) + np.uint64(small + 1)
    return words


@compiled
def character_shares(cp: np.ndarray, length: int, flags: np.ndarray) -> tuple[float, float]:
    """Return the shares of symbols among visible characters, and of capitals among letters."""
    visible = odd = capitals = letters = 0
    for i in range(length):
        bits = flags[cp[i]]
        visible += bits & SPACE == 0
        odd += bits & (SPACE | ALNUM | PROSE | MARK) == 0
        capitals += bits & (UPPER | LETTER) == UPPER | LETTER
        letters += bits & LETTER != 0
    return share(odd, visible), share(capitals, letters)


@compiled
def latin_words(cp: np.ndarray, length: int) -> tuple[int, int]:
    """Return how many words of at least four Latin letters there are, and how many hold four consonants in a row."""
    words = hard = run = consonants = most = 0
    for i in range(length + 1):
        c = lowered(cp[i]) if i < length else 0
        letter = 97 <= c <= 122 or c == DOTTED_I
        if letter:
            run += 1
            consonants = consonants + 1 if c < 128 and CONSONANT[c] else 0
            most = max(most, consonants)
        if not letter or c == DOTTED_I:
            words += run >= LATIN_LETTERS
            hard += run >= LATIN_LETTERS and most >= CONSONANTS
            run = consonants = most = 0
    return words, hard


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
    words = plain_words(cp, line, end, flags, folds, ids)
    if words > 3 and dangles(ids[words - 1]):
        return np.inf
    breaks, tail = sentence_breaks(cp, line, end, flags)
    return np.float64(plain_words(cp, tail, end, flags, folds, ids)) if breaks > 1 else 0.0


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
