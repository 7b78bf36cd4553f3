from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.guard.sentences import Sentences, has_ended


def cut(chunks: list[str], longest: int = 40, first: int | None = None) -> list[str]:
    sentences = Sentences(longest, first)
    out = [sentence for chunk in chunks for sentence in sentences.feed(chunk)]
    return [*out, sentences.close()]


@given(st.text(alphabet='ab .!?\n。")'), st.integers(1, 7), st.sampled_from([None, 8]))
def test_sentences_are_the_text_and_do_not_depend_on_the_chunks(text: str, size: int, first: int | None) -> None:
    whole = cut([text], first=first)
    assert "".join(whole) == text
    assert cut([text[i : i + size] for i in range(0, len(text), size)], first=first) == whole


@given(st.text(alphabet="ab .", max_size=300))
def test_no_sentence_is_longer_than_the_longest(text: str) -> None:
    assert max(map(len, cut([text]))) <= 40


def test_a_sentence_ends_behind_its_sign_and_what_closes_it() -> None:
    assert cut(['He said "go." Then 3.5 days! \nSo', " on"]) == ['He said "go." ', "Then 3.5 days! ", "\n", "So on"]


def test_only_the_very_first_piece_comes_sooner() -> None:
    sentences = Sentences(60, 16)
    assert sentences.feed("The light on the hub") == ["The light on "]
    assert sentences.feed(" blinks when it looks for a net") == []
    assert sentences.feed("work. ") == ["the hub blinks when it looks for a network. "]


def test_a_piece_that_was_cut_has_not_ended() -> None:
    assert [has_ended(piece) for piece in ("The light. ", "The light. On ", "The light on ", "水をやる。", "")] == [
        True, False, False, True, False,
    ]  # fmt: skip
