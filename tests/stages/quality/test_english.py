"""Words and sentences are those of spaCy's blank English."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.data_quality import golden_texts
from benchmarks.english_rules import spacy_rules
from stages.quality.english import LONGEST, rules, sentence_count, spans

PIECES = [
    *rules()["units"],
    *(
        "it's",
        "don't",
        "e.g.",
        "U.S.",
        "a.m.",
        "http://a.example/b?c",
        "x@y.org",
        "1,000.50",
        "US$5",
        "read-only",
        "a/b",
    ),
    *("...", "—", ")", "("),
]
lines = st.lists(
    st.one_of(st.sampled_from(PIECES), st.sampled_from(" .,:!?'\"-"), st.characters(codec="utf-8")), max_size=40
)


@pytest.fixture(scope="module")
def english() -> Any:
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    return pipeline


def words(text: str) -> list[str]:
    return [text[begin:end] for begin, end in spans(text)]


def test_the_rules_are_those_of_the_installed_spacy() -> None:
    found = spacy_rules()
    assert {name: rules()[name] for name in found} == found
    assert max(map(len, found["special"])) == LONGEST


def test_words_and_sentences_of_prose_are_spacys(english: Any) -> None:
    for text in golden_texts():
        assert words(text) == [token.text for token in english.tokenizer(text) if token.text.strip()]
        for line in filter(None, map(str.strip, text.splitlines())):
            assert sentence_count(line) == len(list(english(line).sents))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(lines.map("".join))
def test_words_are_the_text_without_its_white_space(text: str) -> None:
    assert "".join(words(text)) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't go, it's read-only.", ["Do", "n't", "go", ",", "it", "'s", "read", "-", "only", "."]),
        ("See https://a.example/b-c (now).", ["See", "https://a.example/b-c", "(", "now", ")", "."]),
        ("It costs US$5 or 5km, e.g. 10%", ["It", "costs", "US$", "5", "or", "5", "km", ",", "e.g.", "10", "%"]),
        ("Hello!:)", ["Hello", "!", ":)"]),
    ],
)
def test_a_text_is_split_where_spacy_splits_it(english: Any, text: str, expected: list[str]) -> None:
    assert words(text) == expected == [token.text for token in english.tokenizer(text)]
