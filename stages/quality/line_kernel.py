"""The kernels that measure a text line by line, as Gopher and FineWeb do."""

from __future__ import annotations

import numpy as np

from stages.quality.affix_kernel import DOT, ELLIPSIS, HYPHEN, PRIME, hashed
from stages.quality.characters import SPACE, TERMINAL
from stages.quality.compiled_kernel import compiled
from stages.quality.gram_kernel import NEWLINE, Groups, group
from stages.quality.measures import SHORT_LINE
from stages.quality.word_kernel import Text

BULLET, RETURN = (ord(c) for c in "•\r")
SAMPLES = 8
"""Characters that are enough to tell most lines from others."""


@compiled
def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


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
def gopher_lines(text: Text, length: int, flags: np.ndarray, line_ends: int) -> tuple[float, float]:
    """Return the shares of lines that begin with a bullet, and that end with an ellipsis; lines by `str.splitlines`."""
    cp, lines, bullets, open_ends, at = text.cp, 0, 0, 0, 0
    for line in range(line_ends + 1):
        stop = text.line_ends[line]
        if at < length and at <= stop:
            begin, end = stripped(cp, at, stop, flags)
            lines += 1
            bullets += begin < end and (cp[begin] == BULLET or cp[begin] == HYPHEN)
            open_ends += begin < end and (cp[end - 1] == ELLIPSIS or ends_in_dots(cp, begin, end))
        at = next_line(cp, stop, length)
    return share(bullets, lines), share(open_ends, lines)


@compiled
def copy_measures(text: Text, length: int, flags: np.ndarray, line_ends: int, room: Groups, out: np.ndarray) -> int:
    """Write the shares of repeated paragraphs and lines, each with the share of their characters.

    Returns:
        The characters of repeated lines that hold more than white space.
    """
    begin, end = stripped(text.cp, 0, length, flags)
    parts = part(text, line_ends, begin, end, 2)
    again, characters, _ = copied(text, parts, flags, room)
    out[0], out[1] = again / parts, share(characters, length)
    parts = part(text, line_ends, 0, length, 1)
    again, characters, visible = copied(text, parts, flags, room)
    out[2], out[3] = again / parts, share(characters, length)
    return visible


@compiled
def part(text: Text, line_ends: int, begin: int, end: int, least: int) -> int:
    """Split at runs of `least` or more line feeds; write where each part begins and ends, return how many there are."""
    parts = line = 0
    text.spare[0] = begin
    while line < line_ends:
        at, run = text.line_ends[line], 0
        while line < line_ends and text.line_ends[line] == at + run and text.cp[at + run] == NEWLINE:
            line, run = line + 1, run + 1
        if run >= least and begin <= at < end:
            text.other[parts] = at
            parts += 1
            text.spare[parts] = at + run
        line += run == 0
    text.other[parts] = end
    return parts + 1


@compiled
def copied(text: Text, parts: int, flags: np.ndarray, room: Groups) -> tuple[int, int, int]:
    """Return how many of the parts occurred before, their characters, and those of parts that are not blank."""
    begins, ends, characters, visible = text.spare, text.other, 0, 0
    for i in range(parts):
        room.keys[i] = sampled(text.cp, begins[i], ends[i])
    if group(room, parts) == 0:
        return 0, 0, 0
    for i in range(parts):
        room.keys[i] = hashed(text.cp, begins[i], ends[i])
    again = group(room, parts)
    for i in range(parts):
        if room.first[i] != i:
            begin, end = stripped(text.cp, begins[i], ends[i], flags)
            characters += ends[i] - begins[i]
            visible += ends[i] - begins[i] if begin < end else 0
    return again, characters, visible


@compiled
def sampled(cp: np.ndarray, begin: int, end: int) -> np.uint64:
    """Return a hash of a part's length and of some of its characters: equal parts have equal ones."""
    key, last = np.uint64(end - begin), end - begin - 1
    if last >= 0:
        for k in range(SAMPLES):
            key = key * np.uint64(PRIME) + np.uint64(cp[begin + last * k // (SAMPLES - 1)])
    return key


@compiled
def fineweb_measures(
    text: Text, length: int, words: int, flags: np.ndarray, line_ends: int, copies: int, out: np.ndarray
) -> None:
    """Write the shares of closed, short and copied lines, and of line feeds to words; `copies` are characters."""
    cp, feeds, lines, closed, short, at = text.cp, 0, 0, 0, 0, 0
    for line in range(line_ends + 1):
        stop = text.line_ends[line]
        if line < line_ends and cp[stop] != NEWLINE:
            continue
        begin, end = stripped(cp, at, stop, flags)
        if begin < end:
            lines += 1
            closed += flags[cp[stop - 1]] & TERMINAL != 0
            short += stop - at <= SHORT_LINE
        feeds += line < line_ends
        at = stop + 1
    out[0], out[1] = share(closed, lines), share(short, lines)
    out[2], out[3] = share(copies, length - feeds), share(feeds, words)
