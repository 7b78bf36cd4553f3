"""Words as numbers say of n-grams what the words themselves say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.duplicates.words import WORD, bare_words
from stages.sides.lexicon import Lexicon, distinct, grams, short_texts, whole_sentences
from thumbwheel.folding import normalise

TEXTS = st.lists(st.text(alphabet="abAB .!?\nßé漢字🙂\x00\u0301", max_size=20), max_size=6)


def names(lexicon: Lexicon) -> list[str]:
    return ["", *lexicon.numbers]


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_texts_words_are_those_that_dedup_sees(texts: list[str]) -> None:
    lexicon = Lexicon()
    words = lexicon.read(texts)
    for i, text in enumerate(texts):
        mine = words.numbers[words.bounds[i] : words.bounds[i + 1]].tolist()
        assert [names(lexicon)[n] for n in mine] == bare_words(text)


@given(TEXTS, TEXTS, st.integers(1, 4))
def test_two_texts_share_a_hash_where_they_share_words_in_a_row(
    ours: list[str], theirs: list[str], length: int
) -> None:
    def spelt(texts: list[str]) -> set[tuple[str, ...]]:
        found = (bare_words(text) for text in texts)
        return {tuple(words[i : i + length]) for words in found for i in range(len(words) - length + 1)}

    lexicon = Lexicon()
    hashed = [grams(lexicon.read(texts), length) for texts in (ours, theirs)]
    common = set(hashed[0][0].tolist()) & set(hashed[1][0].tolist())
    assert len(common) == len(spelt(ours) & spelt(theirs))
    assert all(length <= len(bare_words(ours[text])) for text in hashed[0][1])


@given(TEXTS)
def test_a_text_is_either_short_or_has_n_grams(texts: list[str]) -> None:
    words = Lexicon().read(texts)
    long, short = grams(words, 3)[1], short_texts(words, 3)[1]
    assert sorted({*long.tolist(), *short.tolist()}) == list(range(len(texts)))
    assert not set(long.tolist()) & set(short.tolist())


def test_bounds_join_texts_and_n_grams_then_cross_them() -> None:
    words = Lexicon().read(["one two", "three four", "five"])
    assert grams(words, 3)[1].tolist() == []
    hashes, owners = grams(words, 3, words.bounds[[0, 2, 3]])
    assert (len(hashes), owners.tolist()) == (2, [0, 0])


@given(TEXTS, st.integers(1, 4))
def test_whole_sentences_are_runs_between_marks(texts: list[str], length: int) -> None:
    lexicon = Lexicon()
    hashes, owners = whole_sentences(lexicon.read(texts), length)
    wanted = [set() for _ in texts]
    for i, text in enumerate(texts):
        parts = [
            WORD.findall(normalise(p)) for p in text.replace("!", ".").replace("?", ".").replace("\n", ".").split(".")
        ]
        parts = [part for part in parts if part] or [bare_words(text)]
        for a in range(len(parts)):
            for b in range(a + 1, len(parts) + 1):
                wanted[i].add(tuple(word for part in parts[a:b] for word in part))
    for i, text in enumerate(texts):
        mine = {h for h, owner in zip(hashes.tolist(), owners.tolist(), strict=True) if owner == i}
        assert len(mine) == sum(len(run) == length for run in wanted[i]), text


def test_distinct_pairs_are_sorted_by_hash_and_owner() -> None:
    hashes, owners = distinct(np.array([2, 1, 2, 2], np.uint64), np.array([1, 0, 0, 1]))
    assert (hashes.tolist(), owners.tolist()) == ([1, 2, 2], [0, 0, 1])
