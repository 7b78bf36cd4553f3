"""What the split needs to know of a conversation, a pair or a thumb, and all of them together as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stages.sides.lexicon import Lexicon, Words, grams, short_texts
from thumbwheel.embedding import Vectors

if TYPE_CHECKING:
    import numpy as np

UNDATED = "9999"


@dataclass(frozen=True)
class Item:
    """A row of any table; `forced` where it is learnt from whatever its side would be."""

    id: str
    table: str
    asked: tuple[str, ...]
    """The user's messages."""
    replied: tuple[str, ...]
    """The assistant's; both replies of a pair."""
    user: str | None = None
    created_at: str | None = None
    forced: bool = False

    @property
    def said(self) -> tuple[str, ...]:
        return self.asked + self.replied

    @property
    def turn(self) -> tuple[bool, str, str]:
        """Sorts items by who comes first: the forced, then the older, undated ones last."""
        return not self.forced, self.created_at or UNDATED, self.id


@dataclass(frozen=True)
class Corpus:
    """All messages of all items, item after item. Item i has the words `words.numbers[bounds[i] : bounds[i + 1]]`."""

    lexicon: Lexicon
    texts: Sequence[str]
    words: Words
    rows: np.ndarray
    """The item of each message."""
    asked: np.ndarray
    """True where a user said it."""
    bounds: np.ndarray

    def grams(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the hashes of all word n-grams of the items, and the item of each; a short item is one n-gram."""
        return _grams(self.words, length, self.bounds)

    def asked_grams(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the same of what users said alone."""
        import numpy as np

        ends = self.bounds[:-1] + np.bincount(
            self.rows[self.asked], weights=self.words.sizes()[self.asked], minlength=len(self.bounds) - 1
        ).astype(np.int64)
        parts = np.append(np.stack([self.bounds[:-1], ends], axis=1).ravel(), self.bounds[-1])
        hashes, owners = _grams(self.words, length, parts)
        asked = owners % 2 == 0
        return hashes[asked], owners[asked] // 2


def conversation_item(row: Mapping[str, Any]) -> Item:
    """Return the item of a conversation."""
    asked, replied = (_said(row["messages"], role) for role in ("user", "assistant"))
    return Item(row["id"], "conversations", asked, replied, row["user"], row["created_at"])


def preference_item(row: Mapping[str, Any], always_train: Iterable[str]) -> Item:
    """Return the item of a pair."""
    asked, replied = (_said(row["prompt"], role) for role in ("user", "assistant"))
    replied += (row["chosen"], row["rejected"])
    moment, forced = in_utc(row["created_at"]), row["origin"] in always_train
    return Item(row["id"], "preferences", asked, replied, row["user"], moment, forced)


def thumb_item(row: Mapping[str, Any]) -> Item:
    """Return the item of a thumb, which is too rare to hold out."""
    asked, replied = (_said(row["prompt"], role) for role in ("user", "assistant"))
    moment = in_utc(row["created_at"])
    return Item(row["id"], "unpaired", asked, (*replied, row["reply"]), row["user"], moment, forced=True)


def in_utc(moment: str | None) -> str | None:
    """Return a moment of feedback, which may come with the time of any zone, as conversations have theirs."""
    try:
        return datetime.fromisoformat(moment).astimezone(UTC).isoformat() if moment else None
    except OverflowError:  # of the calendar's first or last day
        return moment


def read_corpus(items: Sequence[Item]) -> Corpus:
    """Return all items as arrays."""
    import numpy as np

    lexicon = Lexicon()
    texts = [text for item in items for text in item.said]
    sizes = np.array([len(item.said) for item in items], np.int64)
    asked = np.array([i < len(item.asked) for item in items for i in range(len(item.said))], bool)
    words = lexicon.read(texts)
    bounds = words.bounds[np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])]
    return Corpus(lexicon, texts, words, np.repeat(np.arange(len(items)), sizes), asked, bounds)


def keys(items: Sequence[Item], corpus: Corpus, length: int) -> list[str]:
    """Return what decides each item's side: its user; where none is known, the smallest hash of its user's n-grams.

    By that (MinHash; Broder 1997), two items that have a share J of their n-grams in common have one key with
    probability J, so that near-duplicates mostly come to stand together before anybody compares them.
    """
    import numpy as np

    hashes, owners = corpus.asked_grams(length)
    smallest = np.full(len(items), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, owners, hashes)
    return [item.user or f"{least:016x}" for item, least in zip(items, smallest.tolist(), strict=True)]


def mean_vectors(items: Sequence[Item], vectors: Vectors) -> np.ndarray:
    """Return the unit vector of each item: the mean of its user's messages, shape (items, width)."""
    import numpy as np

    counts = np.array([len(item.asked) for item in items], np.int64)
    flat = vectors.of([text for item in items for text in item.asked])
    means = np.add.reduceat(flat, np.cumsum(counts) - counts, axis=0)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12))


def _grams(words: Words, length: int, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    long, short = grams(words, length, bounds), short_texts(words, length, bounds)
    return np.concatenate([long[0], short[0]]), np.concatenate([long[1], short[1]])


def _said(messages: Iterable[Mapping[str, str]], role: str) -> tuple[str, ...]:
    """Return what one role says; a conversation in which no user speaks has an empty question."""
    return tuple(m["content"] for m in messages if m["role"] == role) or (("",) if role == "user" else ())
