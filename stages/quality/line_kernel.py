"""The kernels that measure a text line by line, as Gopher, C4 and FineWeb do."""

from __future__ import annotations

import numpy as np

from stages.quality.affix_kernel import DOT, ELLIPSIS, HYPHEN, hashed
from stages.quality.characters import LINE_END, SPACE, TERMINAL
from stages.quality.compiled_kernel import compiled
from stages.quality.gram_kernel import NEWLINE, Groups, copied, part_keys
from stages.quality.measures import MAX_WORD_LENGTH, MIN_LINE_WORDS, NOTICES, SHORT_LINE
from stages.quality.word_kernel import CLOSES, MARKS, Rules, Words, split_words, word_kind

BULLET, RETURN, HASH, BRACKET, CLOSING, BRACE = (ord(c) for c in "•\r#[]{")
KELVIN, SMALL_K = 0x212A, ord("k")
PHRASES = ("lorem ipsum", "[citation needed]", "[edit]", *NOTICES)
PATTERNS = np.array([[*map(ord, phrase.ljust(20, "\0"))] for phrase in PHRASES], np.int32)
"""What C4 looks for in a line; each row ends with zeros."""
LOREM, CITATION, EDIT, SCRIPT = range(4)
PAIRS = np.zeros((128, 128), np.bool_)
"""How a phrase begins."""
PAIRS[PATTERNS[:, 0], PATTERNS[:, 1]] = True


@compiled
def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


@compiled
def line_end(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> int:
    """Return where the line from `begin` on ends, by `str.splitlines`."""
    i = begin
    while i < end and not flags[cp[i]] & LINE_END:
        i += 1
    return i


@compiled
def next_line(cp: np.ndarray, at: int, end: int) -> int:
    """Return where the line behind the one that ends at `at` begins."""
    return at + 2 if at + 1 < end and cp[at] == RETURN and cp[at + 1] == NEWLINE else at + 1


@compiled
def stripped(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> tuple[int, int]:
    """Return the bounds of a text without the white space around it."""
    while begin < end and flags[cp[begin]] & SPACE:
        begin += 1
    while end > begin and flags[cp[end - 1]] & SPACE:
        end -= 1
    return begin, end


@compiled
def ends_in_dots(cp: np.ndarray, begin: int, end: int) -> bool:
    return end - begin > 2 and cp[end - 1] == DOT and cp[end - 2] == DOT and cp[end - 3] == DOT


@compiled
def gopher_lines(cp: np.ndarray, length: int, flags: np.ndarray) -> tuple[float, float]:
    """Return the shares of lines that begin with a bullet, and that end with an ellipsis."""
    lines = bullets = open_ends = at = 0
    while at < length:
        stop = line_end(cp, at, length, flags)
        begin, end = stripped(cp, at, stop, flags)
        lines += 1
        bullets += begin < end and (cp[begin] == BULLET or cp[begin] == HYPHEN)
        open_ends += begin < end and (cp[end - 1] == ELLIPSIS or ends_in_dots(cp, begin, end))
        at = next_line(cp, stop, length)
    return share(bullets, lines), share(open_ends, lines)


@compiled
def copy_measures(
    cp: np.ndarray, length: int, flags: np.ndarray, room: Groups, lengths: np.ndarray, out: np.ndarray
) -> None:
    """Write the shares of repeated paragraphs and lines, each with the share of their characters."""
    begin, end = stripped(cp, 0, length, flags)
    parts = part_keys(cp, begin, end, 2, room.keys, lengths)
    again, characters = copied(room, parts, lengths)
    out[0], out[1] = again / parts, share(characters, length)
    parts = part_keys(cp, 0, length, 1, room.keys, lengths)
    again, characters = copied(room, parts, lengths)
    out[2], out[3] = again / parts, share(characters, length)


@compiled
def fineweb_measures(
    cp: np.ndarray, length: int, words: int, flags: np.ndarray, room: Groups, lengths: np.ndarray, out: np.ndarray
) -> None:
    """Write the shares of closed, short and copied lines, and of line feeds to words."""
    feeds = lines = closed = short = at = 0
    while at <= length:
        stop = at
        while stop < length and cp[stop] != NEWLINE:
            stop += 1
        feeds += stop < length
        begin, end = stripped(cp, at, stop, flags)
        if begin < end:
            room.keys[lines], lengths[lines] = hashed(cp, at, stop), stop - at
            lines += 1
            closed += flags[cp[stop - 1]] & TERMINAL != 0
            short += stop - at <= SHORT_LINE
        at = stop + 1
    characters = copied(room, lines, lengths)[1]
    out[0], out[1] = share(closed, lines), share(short, lines)
    out[2], out[3] = share(characters, length - feeds), share(feeds, words)


@compiled
def c4_measures(
    cp: np.ndarray,
    length: int,
    begins: np.ndarray,
    ends: np.ndarray,
    kinds: np.ndarray,
    words: int,
    rules: Rules,
    bare: Words,
    out: np.ndarray,
) -> None:
    """Write whether a line that C4 looks at holds "lorem ipsum", or a bracket; and the sentences of lines it keeps."""
    out[0] = out[1] = out[2] = 0
    at = word = 0
    while at < length:
        stop = line_end(cp, at, length, rules.flags)
        begin, end = stripped(cp, at, stop, rules.flags)
        first = word
        while word < words and begins[word] < end:
            word += 1
        if begin < end and is_end(cp[end - 1]) and may_count(cp, begin, end, rules.flags):
            if has(cp, begin, end, BRACKET):
                cited_line(cp, begin, end, rules, bare, out)
            elif is_closed(cp, begin, end):
                kept_line(cp, begin, end, begins[first:word], ends[first:word], kinds[first:word], out)
        at = next_line(cp, stop, length)


@compiled
def cited_line(cp: np.ndarray, begin: int, end: int, rules: Rules, bare: Words, out: np.ndarray) -> None:
    """Measure a line without its citations, whose words have to be found anew."""
    length = without_citations(cp, begin, end, bare.cp)
    if is_closed(bare.cp, 0, length):
        words = split_words(bare.cp, length, rules, bare.begins, bare.ends, bare.spare)
        for word in range(words):
            bare.kinds[word] = word_kind(bare.cp, bare.begins[word], bare.ends[word], rules.flags)
        kept_line(bare.cp, 0, length, bare.begins[:words], bare.ends[:words], bare.kinds[:words], out)


@compiled
def kept_line(
    cp: np.ndarray, begin: int, end: int, begins: np.ndarray, ends: np.ndarray, kinds: np.ndarray, out: np.ndarray
) -> None:
    found = phrases_in(cp, begin, end)
    if found & 1 << LOREM:
        out[0] = 1
    if found & 1 << SCRIPT:
        return
    if has(cp, begin, end, BRACE):
        out[1] = 1
    if found >> SCRIPT == 0:
        out[2] += sentences(cp, begins, ends, kinds)


@compiled
def sentences(cp: np.ndarray, begins: np.ndarray, ends: np.ndarray, kinds: np.ndarray) -> int:
    count, closed = 1, False
    for word in range(len(begins)):
        if closed and (not kinds[word] & (MARKS | CLOSES) or is_wide(cp, ends[word - 1], begins[word])):
            count, closed = count + 1, False
        closed = closed or kinds[word] & CLOSES != 0
    return count


@compiled
def is_wide(cp: np.ndarray, begin: int, end: int) -> bool:
    """True where white space between two words is more than one space."""
    return end - begin > 1 or (end - begin == 1 and cp[begin] != 32)


@compiled
def may_count(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> bool:
    """True where a line has enough words, and none too long."""
    words = run = 0
    for i in range(begin, end):
        if flags[cp[i]] & SPACE:
            run = 0
        else:
            words += run == 0
            run += 1
            if run > MAX_WORD_LENGTH:
                return False
    return words >= MIN_LINE_WORDS


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
        skip = citation_length(cp, i, end) if cp[i] == BRACKET else 0
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


@compiled
def lowered(c: int) -> int:
    """Return a letter's small form where that is one of a to z: "K" may also be the sign of kelvins."""
    if 65 <= c <= 90:
        return c + 32
    return SMALL_K if c == KELVIN else c
