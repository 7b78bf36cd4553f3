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
from stages.quality.affix_kernel import DOT, ELLIPSIS, hashed, text_hash
from stages.quality.answer_kernel import answer_measures
from stages.quality.compiled_kernel import compiled
from stages.quality.english import RULES
from stages.quality.gram_kernel import Groups, gram_measures, groups_room
from stages.quality.line_kernel import HASH, c4_measures, copy_measures, fineweb_measures, gopher_lines, share
from stages.quality.measures import ANSWER, C4, GOPHER, MEASURES, REPETITION, STOP_WORDS
from stages.quality.word_kernel import ALPHABETIC, REAL, Rules, Words, split_words, tables, word_kind, words_room

HERE = Path(__file__).parent
OF_GOPHER = len(ANSWER)
OF_REPETITION = OF_GOPHER + len(GOPHER)
OF_GRAMS = OF_REPETITION + 4
OF_C4 = OF_REPETITION + len(REPETITION)
OF_FINEWEB = OF_C4 + len(C4)
STOPS = np.array([text_hash(map(ord, word)) for word in STOP_WORDS], np.uint64)


def measure_bytes(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the measures of texts, shape (texts, len(MEASURES)), float64.

    Args:
        data: the texts' UTF-8, lone surrogates encoded like other characters, one behind the other; uint8, read-only.
        offsets: where each begins, and where the last ends; int64.
    """
    out = np.empty((len(offsets) - 1, len(MEASURES)))
    longest = int(np.diff(offsets).max(initial=0))
    text, bare = words_room(longest), words_room(longest)
    kernel()(data, offsets, tables(), characters.folds(), text, bare, groups_room(longest + 1), out)
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
        text: Words,
        bare: Words,
        groups: Groups,
        out: np.ndarray,
    ) -> int:
        for row in range(len(offsets) - 1):
            measure_one(data, offsets[row], offsets[row + 1], rules, folds, text, bare, groups, out[row])
        return made_of

    return measure_all


@compiled
def measure_one(
    data: np.ndarray,
    begin: int,
    end: int,
    rules: Rules,
    folds: np.ndarray,
    text: Words,
    bare: Words,
    groups: Groups,
    out: np.ndarray,
) -> None:
    length = decode(data, begin, end, text.cp)
    words = split_words(text.cp, length, rules, text.begins, text.ends, text.spare)
    answer_measures(text.cp, length, rules.flags, folds, text.ids, groups, out)
    describe(text, words, rules.flags)
    gopher_measures(text, length, words, rules.flags, out[OF_GOPHER:])
    copy_measures(text.cp, length, rules.flags, groups, text.spare, out[OF_REPETITION:])
    gram_measures(text.ids, text.sums, words, groups, text.spare, bare.spare, out[OF_GRAMS:])
    for k in range(OF_GRAMS, OF_C4):
        out[k] = share(out[k], length)
    c4_measures(text.cp, length, text.begins, text.ends, text.kinds, words, rules, bare, out[OF_C4:])
    fineweb_measures(text.cp, length, words, rules.flags, groups, text.spare, out[OF_FINEWEB:])


@compiled
def decode(data: np.ndarray, begin: int, end: int, cp: np.ndarray) -> int:
    """Write the code points of UTF-8 that is known to be whole; return how many."""
    length, i = 0, begin
    while i < end:
        c = np.int32(data[i])
        if c < 0x80:
            size = 1
        elif c < 0xE0:
            size, c = 2, c & 0x1F
        elif c < 0xF0:
            size, c = 3, c & 0x0F
        else:
            size, c = 4, c & 0x07
        for k in range(1, size):
            c = c << 6 | np.int32(data[i + k]) & 0x3F
        cp[length] = c
        length += 1
        i += size
    return length


@compiled
def describe(text: Words, words: int, flags: np.ndarray) -> None:
    """Write each word's kind and hash, and the characters of all words before it."""
    text.sums[0] = 0
    for word in range(words):
        begin, end = text.begins[word], text.ends[word]
        text.kinds[word] = word_kind(text.cp, begin, end, flags)
        text.ids[word] = hashed(text.cp, begin, end)
        text.sums[word + 1] = text.sums[word] + end - begin


@compiled
def gopher_measures(text: Words, length: int, words: int, flags: np.ndarray, out: np.ndarray) -> None:
    real = characters = alphabetic = stops = 0
    for word in range(words):
        if text.kinds[word] & REAL:
            real += 1
            characters += text.ends[word] - text.begins[word]
        alphabetic += text.kinds[word] & ALPHABETIC != 0
        if text.ends[word] - text.begins[word] < 5:
            for k in range(len(STOPS)):
                if STOPS[k] == text.ids[word]:
                    stops |= 1 << k
    hashes, ellipses = count_marks(text.cp, length)
    out[0], out[1] = real, share(characters, real)
    out[2], out[3] = share(hashes, words), share(ellipses, words)
    out[4], out[5] = gopher_lines(text.cp, length, flags)
    out[6], out[7] = share(alphabetic, words), bits_set(stops)


@compiled
def bits_set(bits: int) -> int:
    count = 0
    while bits:
        count += bits & 1
        bits >>= 1
    return count


@compiled
def count_marks(cp: np.ndarray, length: int) -> tuple[int, int]:
    """Return how many hashes and ellipses stand in a text; three dots are one."""
    hashes = ellipses = dots = 0
    for i in range(length):
        dots = dots + 1 if cp[i] == DOT else 0
        if dots == 3:
            ellipses, dots = ellipses + 1, 0
        ellipses += cp[i] == ELLIPSIS
        hashes += cp[i] == HASH
    return hashes, ellipses
