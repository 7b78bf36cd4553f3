"""The kernels that find plain words, as `\\w+` has them, and words of Latin letters."""

from __future__ import annotations

import numpy as np

from stages.quality.affix_kernel import PRIME
from stages.quality.characters import CONSONANT, LATIN, WORD
from stages.quality.compiled_kernel import compiled

KELVIN, SMALL_K = 0x212A, ord("k")
DOTTED_I = 0x130
"""Its small form is an i and a dot above, and there a Latin word ends."""
LATIN_LETTERS = CONSONANTS = 4
"""Letters of the shortest word that can be unpronounceable, and consonants in a row that make it so."""


@compiled
def plain_words(
    cp: np.ndarray, begin: int, end: int, flags: np.ndarray, folds: np.ndarray, ids: np.ndarray, words: int
) -> int:
    """Write the hash of each run of word characters in lower case behind `words` others; return how many there are."""
    key, inside = np.uint64(0), False
    for i in range(begin, end):
        c = cp[i]
        if flags[c] & WORD:
            small = folds[c] if c < len(folds) else np.int64(c)
            key, inside = key * np.uint64(PRIME) + np.uint64(small + 1), True
        elif inside:
            ids[words], key, inside = key, np.uint64(0), False
            words += 1
    if inside:
        ids[words] = key
    return words + inside


@compiled
def latin_words(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> tuple[int, int]:
    """Return how many words of at least four Latin letters there are, and how many hold four consonants in a row."""
    words = hard = run = consonants = most = 0
    for i in range(begin, end):
        c, bits = cp[i], flags[cp[i]]
        letter = bits & LATIN != 0 or c in (KELVIN, DOTTED_I)
        consonants = consonants + 1 if bits & CONSONANT or c == KELVIN else 0
        most = max(most, consonants)
        run += letter
        if not letter or c == DOTTED_I or i + 1 == end:
            words += run >= LATIN_LETTERS
            hard += run >= LATIN_LETTERS and most >= CONSONANTS
            run = consonants = most = 0
    return words, hard


@compiled
def lowered(c: int) -> int:
    """Return a letter's small form where that is one of a to z: "K" may also be the sign of kelvins."""
    if 65 <= c <= 90:
        return c + 32
    return SMALL_K if c == KELVIN else c
