"""What a word is, in the scripts of the world."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.duplicates.words import WORD, bare_words, fold, shingles


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("e\u0301tude étude", ["étude", "étude"]),
        ("snake_case", ["snake", "case"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("مَرْحَبًا بك", ["مَرْحَبًا", "بك"]),
        ("co\u00adoperate zero\u200bwidth", ["cooperate", "zerowidth"]),
        ("ﬁne Ⅷ ½", ["fine", "viii", "1", "2"]),
        ("abc日本語def", ["abc", "日", "本", "語", "def"]),
        ("น้ำ", ["น\u0e49\u0e4d", "า"]),
        ("한국어", ["한", "국", "어"]),
        ("«quoted»—dash…", ["quoted", "dash"]),
        ("I ❤️ you 👍🏽", ["i", "you"]),
        ("👍🏽 :)", ["👍🏽", ":)"]),
        ("", [""]),
        ("\ud800 lone", ["lone"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert bare_words(text) == words


@given(st.text())
def test_words_hold_neither_spaces_nor_the_marks_between_parts(text: str) -> None:
    assert not any(set(word) & set(" \x1e\x1f") for word in bare_words(text))


@given(st.text(), st.text())
def test_a_space_between_two_texts_keeps_their_words_apart(a: str, b: str) -> None:
    if WORD.search(a) and WORD.search(b) and bare_words(a) != [""] and bare_words(b) != [""]:
        assert WORD.findall(" ".join(bare_words(f"{a} {b}")))[:1] == bare_words(f"{a} {b}")[:1]


@given(st.text(), st.integers(1, 6))
def test_a_text_has_as_many_n_grams_as_places_for_them(text: str, length: int) -> None:
    assert 1 <= len(shingles([("", text)], length)) <= max(1, len(bare_words(text)) - length + 1)


def test_rows_that_differ_in_case_spaces_and_punctuation_fold_to_the_same() -> None:
    assert fold([("user", "Hello,  World!")]) == fold([("user", "hello world")])
    assert fold([("user", "Hello")]) != fold([("assistant", "Hello")])
    assert fold([("a", "b"), ("c", "")]) != fold([("a", ""), ("c", "b")])
