"""The kernel that takes every measure of many texts in one pass over their UTF-8 bytes; `measures` defines them.

Compiled once for a machine, by `python -m stages.quality.heuristics`, and kept beside this file.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from stages.quality import characters
from stages.quality.answer_kernel import answer_measures
from stages.quality.compiled_kernel import compiled, inlined
from stages.quality.english import RULES
from stages.quality.gram_kernel import Groups, gram_measures, groups_room
from stages.quality.line_kernel import copy_measures, fineweb_measures, gopher_lines, share
from stages.quality.measures import ANSWER, C4, GOPHER, MEASURES, REPETITION
from stages.quality.scan_kernel import (
    ALPHABETIC_WORDS,
    ELLIPSES,
    HASHES,
    LINE_ENDS,
    REAL_CHARACTERS,
    REAL_WORDS,
    STOPS_SEEN,
    TALLIES,
    WORDS,
    scan,
)
from stages.quality.sentence_kernel import c4_measures, may_hold_phrase
from stages.quality.word_kernel import Rules, Text, tables, text_room

HERE = Path(__file__).parent
OF_GOPHER = len(ANSWER)
OF_REPETITION = OF_GOPHER + len(GOPHER)
OF_GRAMS = OF_REPETITION + 4
OF_C4 = OF_REPETITION + len(REPETITION)
OF_FINEWEB = OF_C4 + len(C4)


def measure_bytes(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the measures of texts, shape (texts, len(MEASURES)), float64.

    Args:
        data: the texts' UTF-8, lone surrogates encoded like other characters, one behind the other; uint8, read-only.
        offsets: where each begins, and where the last ends; int64.
    """
    out = np.empty((len(offsets) - 1, len(MEASURES)))
    longest = int(np.diff(offsets).max(initial=0))
    text, bare, groups = text_room(longest), text_room(longest), groups_room(longest + 1)
    kernel()(data, offsets, tables(), characters.folds(), text, bare, groups, np.empty(TALLIES, np.int64), out)
    return out


def sources() -> tuple[Path, ...]:
    """Return the files that the kernel is compiled from."""
    return (
        *sorted(HERE.glob("*_kernel.py")),
        *(HERE / name for name in ("measures.py", "english.py", "characters.py")),
        RULES,
    )


@cache
def kernel() -> Any:
    """Return the compiled kernel, or compile it.

    numba keeps a compiled function under its own code and closure, and does not see that a function in another file,
    which it has compiled in, has changed: so the closure holds the hash of all sources.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources())).digest()
    made_of = int.from_bytes(digest[:7], "big")

    @njit(cache=True, nogil=True, _nrt=False)
    def measure_all(
        data: np.ndarray,
        offsets: np.ndarray,
        rules: Rules,
        folds: np.ndarray,
        text: Text,
        bare: Text,
        groups: Groups,
        tally: np.ndarray,
        out: np.ndarray,
    ) -> int:
        for row in range(len(offsets) - 1):
            one = data[offsets[row] : offsets[row + 1]]
            measure_one(one, rules, folds, text, bare, groups, tally, out[row])
        return made_of

    return measure_all


@compiled
def measure_one(
    data: np.ndarray,
    rules: Rules,
    folds: np.ndarray,
    text: Text,
    bare: Text,
    groups: Groups,
    tally: np.ndarray,
    out: np.ndarray,
) -> None:
    length = decode(data, text.cp)
    text.cp[length] = ord(" ")
    scan(text, length, rules, folds, tally)
    lines, words = tally[LINE_ENDS], tally[WORDS]
    answer_measures(text, length, rules.flags, folds, groups, tally, out)
    gopher_measures(text, length, rules.flags, tally, out[OF_GOPHER:])
    copies = copy_measures(text, length, rules.flags, lines, groups, out[OF_REPETITION:])
    gram_measures(text, words, groups, out[OF_GRAMS:])
    for k in range(OF_GRAMS, OF_C4):
        out[k] = share(out[k], length)
    c4_measures(text, length, rules, bare, may_hold_phrase(data), tally, out[OF_C4:])
    fineweb_measures(text, length, words, rules.flags, lines, copies, out[OF_FINEWEB:])


@inlined
def decode(data: np.ndarray, cp: np.ndarray) -> int:
    """Write the code points of UTF-8 that is known to be whole; return how many."""
    if is_ascii(data):
        for i in range(len(data)):
            cp[i] = data[i]
        return len(data)
    length = i = 0
    while i < len(data):
        c = np.uint32(data[i])
        if c < 0x80:
            size = 1
        elif c < 0xE0:
            size, c = 2, c & 0x1F
        elif c < 0xF0:
            size, c = 3, c & 0x0F
        else:
            size, c = 4, c & 0x07
        for k in range(1, size):
            c = c << 6 | np.uint32(data[i + k]) & 0x3F
        cp[length] = c
        length += 1
        i += size
    return length


@inlined
def is_ascii(data: np.ndarray) -> bool:
    some = np.uint8(0)
    for i in range(len(data)):
        some |= data[i]
    return bool(some < 0x80)


@compiled
def gopher_measures(text: Text, length: int, flags: np.ndarray, tally: np.ndarray, out: np.ndarray) -> None:
    real, words = tally[REAL_WORDS], tally[WORDS]
    out[0], out[1] = real, share(tally[REAL_CHARACTERS], real)
    out[2], out[3] = share(tally[HASHES], words), share(tally[ELLIPSES], words)
    out[4], out[5] = gopher_lines(text, length, flags, tally[LINE_ENDS])
    out[6], out[7] = share(tally[ALPHABETIC_WORDS], words), bits_set(tally[STOPS_SEEN])


@compiled
def bits_set(bits: int) -> int:
    count = 0
    while bits:
        count += bits & 1
        bits >>= 1
    return count
