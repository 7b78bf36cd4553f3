from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.guard.sentences import Sentences


def cut(chunks: list[str], longest: int = 40) -> list[str]:
    sentences = Sentences(longest)
    out = [sentence for chunk in chunks for sentence in sentences.feed(chunk)]
    return [*out, sentences.close()]


@given(st.text(alphabet='ab .!?\n。")'), st.integers(1, 7))
def test_sentences_are_the_text_and_do_not_depend_on_the_chunks(text: str, size: int) -> None:
    whole = cut([text])
    assert "".join(whole) == text
    assert cut([text[i : i + size] for i in range(0, len(text), size)]) == whole


@given(st.text(alphabet="ab .", max_size=300))
def test_no_sentence_is_longer_than_the_longest(text: str) -> None:
    assert max(map(len, cut([text]))) <= 40


def test_a_sentence_ends_behind_its_sign_and_what_closes_it() -> None:
    assert cut(['He said "go." Then 3.5 days! \nSo', " on"]) == ['He said "go." ', "Then 3.5 days! ", "\n", "So on"]
