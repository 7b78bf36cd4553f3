"""Texts that say nearly the same are found, and no others."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stages.alike import leaders, spread
from stages.duplicates.words import bare_words

TEXTS = st.lists(st.text("ab cde", max_size=14), max_size=12)
SHARES = st.sampled_from([0.3, 0.5, 2 / 3, 0.9, 1.0])


@given(texts=TEXTS, jaccard=SHARES)
def test_leaders_are_those_that_comparing_each_with_all_would_find(texts: list[str], jaccard: float) -> None:
    words = [frozenset(bare_words(text)) for text in texts]
    expected: list[int] = []
    for place, mine in enumerate(words):
        heads = [one for one in range(place) if expected[one] == one]
        near = (one for one in heads if len(mine & words[one]) / len(mine | words[one]) >= jaccard - 1e-9)
        expected.append(next(near, place))
    assert leaders(texts, jaccard) == expected


@given(texts=TEXTS, most=st.integers(1, 4))
def test_of_equal_texts_no_more_stay_than_may_and_the_oldest_do(texts: list[str], most: int) -> None:
    turned_away: Counter[str] = Counter()
    kept = spread([*enumerate(texts)], lambda item: item[1], 1.0, most, turned_away)
    said = [frozenset(bare_words(text)) for text in texts]
    assert [place for place, _ in kept] == [n for n, words in enumerate(said) if said[:n].count(words) < most]
    assert turned_away["alike"] == len(texts) - len(kept)


def test_case_punctuation_and_a_word_or_two_make_no_difference() -> None:
    texts = ["Call the new number now!", "call the NEW number, now", "Nine months.", "Call the old number now"]
    assert leaders(texts, 0.6) == [0, 0, 2, 0]
