"""The words of many texts as numbers, so that n-grams of a whole corpus are made and compared as arrays."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from stages.duplicates.words import INVISIBLE, WORD, bare_words

if TYPE_CHECKING:
    import numpy as np

TOKEN = re.compile(rf"{WORD.pattern}|[.!?;:…。！？\n]")
"""A word as `dedup` sees it, or a mark that ends a sentence."""
STOP = frozenset(".!?;:…。！？\n")
BASE = 0x9E3779B97F4A7C15
"""Odd multiplier of the polynomial over word hashes that hashes an n-gram, modulo 2^64."""


@dataclass(frozen=True)
class Words:
    """Text t is `numbers[bounds[t] : bounds[t + 1]]`; `closes` says behind which words a sentence ends.

    `marks[n]` is a hash of word number n, the same in every run.
    """

    numbers: np.ndarray
    bounds: np.ndarray
    closes: np.ndarray
    marks: np.ndarray

    def sizes(self) -> np.ndarray:
        """Return how many words each text has."""
        return self.bounds[1:] - self.bounds[:-1]


class Lexicon:
    """Numbers words in the order in which they first come, from 1 on."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.digests = [bytes(8)]

    def read(self, texts: Iterable[str]) -> Words:
        """Return the words of each text; one without words, such as `:)`, is told by its symbols."""
        import numpy as np

        flat = [self._tokens(text) for text in texts]
        sizes = [0, *(int(np.count_nonzero(tokens)) for tokens in flat)]
        tokens = np.concatenate([*flat, np.zeros(1, np.int64)])
        places = np.flatnonzero(tokens)
        closes = tokens[places + 1] == 0
        bounds = np.cumsum(sizes)
        closes[bounds[1:] - 1] = True
        return Words(tokens[places], bounds, closes, self._marks())

    def _marks(self) -> np.ndarray:
        """Return the hash of each word by its number."""
        import numpy as np

        for word in islice(self.numbers, len(self.digests) - 1, None):
            self.digests.append(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        return np.frombuffer(b"".join(self.digests), "<u8")

    def _tokens(self, text: str) -> np.ndarray:
        """Return the numbers of a text's words, 0 where a sentence ends."""
        import numpy as np

        found = TOKEN.findall(INVISIBLE.sub("", unicodedata.normalize("NFKC", text).casefold()))
        numbers = self.numbers
        ids = [0 if word in STOP else numbers.setdefault(word, len(numbers) + 1) for word in found]
        if not any(ids):
            ids = [numbers.setdefault(word, len(numbers) + 1) for word in bare_words(text)]
        return np.array(ids, np.int64)


def grams(words: Words, length: int, bounds: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of all word n-grams, and the text that each stands in.

    `bounds` takes several texts together as one, such as the messages of a conversation. Texts shorter than `length`
    have none. Two n-grams of one hash are equal but for a chance of 2^-64 a pair.
    """
    import numpy as np

    bounds = words.bounds if bounds is None else bounds
    count = len(words.numbers) - length + 1
    if count <= 0:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    text_of = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    whole = text_of[:count] == text_of[length - 1 :]
    return _hashed(words, np.flatnonzero(whole), length), text_of[:count][whole]


def short_texts(words: Words, length: int, bounds: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return, for the texts of fewer than `length` words, the hash of all their words, and which texts these are."""
    import numpy as np

    bounds = words.bounds if bounds is None else bounds
    sizes = np.diff(bounds)
    texts = [np.flatnonzero(sizes == size) for size in range(1, length)]
    hashes = [_hashed(words, bounds[t], size) for size, t in enumerate(texts, start=1)]
    return np.concatenate([np.empty(0, np.uint64), *hashes]), np.concatenate([np.empty(0, np.int64), *texts])


def whole_sentences(words: Words, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of all runs of `length` words that begin and end with a sentence, and their texts."""
    import numpy as np

    ends = np.flatnonzero(words.closes) + 1
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends
    starts = starts[starts + length <= len(words.numbers)]
    text_of = np.searchsorted(words.bounds, starts, side="right") - 1
    fits = words.closes[starts + length - 1] & (starts + length <= words.bounds[text_of + 1])
    return _hashed(words, starts[fits], length), text_of[fits]


def distinct(hashes: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct pairs of hash and owner, sorted by both."""
    import numpy as np

    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    first = np.ones(len(hashes), bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return hashes[first], owners[first]


def _hashed(words: Words, starts: np.ndarray, length: int) -> np.ndarray:
    import numpy as np

    hashes = np.zeros(len(starts), np.uint64)
    for offset in range(length):
        hashes = hashes * np.uint64(BASE) + words.marks[words.numbers[starts + offset]]
    return _mixed(hashes)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return the output step of SplitMix64 (Steele, Lea and Flood 2014), a bijection that scatters its input."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
