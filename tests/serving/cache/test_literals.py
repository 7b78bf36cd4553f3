"""Which questions may share an answer, as far as their words say."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cache.literals import WORDS, agree, literals
from tests.conftest import public_or_skip


def share(one: str, other: str) -> bool:
    return agree(literals(one), literals(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many days do I have to return 2 kits?", "How many days do I have to return 3 kits?"),
        ("Can I return two kits?", "Can I return three kits?"),
        ("Does the valve work with the hub?", "Does the valve work without the hub?"),
        ("Is it safe to drink?", "Is it not safe to drink?"),
        ("Why does it blink?", "Why doesn't it blink?"),
        ("How do I turn the hub on?", "How do I turn the hub off?"),
        ("What is the capital of France?", "What is the capital of Finland?"),
        ("what does Anna owe Bob", "what does Bob owe Anna"),
        ("convert 5 euros to dollars", "convert 5 dollars to euros"),
        ("does a dog chase a cat", "does a cat chase a dog"),
        ("What is 7 + 5?", "What is 7 - 5?"),
        ("What is 12.5% of 80?", "What is 1.25% of 80?"),
        ("Who wrote Python?", "When was Python written?"),
        ("How do I use iOS?", "How do I use macOS?"),
        ("Was it before 1990?", "Was it after 1990?"),
        ("Name the first president", "Name the last president"),
    ],
)
def test_questions_that_differ_in_what_matters_share_nothing(one: str, other: str) -> None:
    assert not share(one, other)
    assert not share(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the Brindle Hub?", "what is the brindle hub"),
        ("How do I reset the hub?", "Please tell me, how do I reset the hub"),
        ("Can I return two kits?", "Can I return 2 kits?"),
        ("Why doesn't it blink?", "Why does it not blink?"),
        ("How long is the warranty?", "How long is the warranty?!"),
    ],
)
def test_questions_that_say_the_same_share_an_answer(one: str, other: str) -> None:
    assert share(one, other)
    assert share(other, one)


QUESTION = st.lists(
    st.sampled_from(
        ["How", "what", "not", "5", "five", "Paris", "hub", "valve", "to", "the", "C++", "can't", "?", "№"]
    ),
    max_size=8,
).map(" ".join)


@given(QUESTION | st.text(max_size=60), QUESTION | st.text(max_size=60))
def test_agreement_is_mutual_and_a_question_agrees_with_itself(one: str, other: str) -> None:
    assert share(one, one)
    assert share(one, other) == share(other, one)


@given(QUESTION, st.integers(0, 999), st.integers(0, 999))
def test_another_number_is_another_question(question: str, one: int, other: int) -> None:
    assert share(f"{question} {one}", f"{question} {other}") == (one == other)


@given(QUESTION, st.integers(0, 8), st.sampled_from(["not", "never", "without"]))
def test_one_more_negation_is_another_question(question: str, place: int, negation: str) -> None:
    words = question.split()
    assert not share(question, " ".join([*words[:place], negation, *words[place:]]))


def test_no_word_both_decides_and_fills() -> None:
    decisive = {word for name in ("numbers", "amounts", "negations", "opposites") for word in WORDS[name]}
    assert not decisive & set(WORDS["filling"])


def test_no_labelled_pair_that_only_looks_alike_is_let_through() -> None:
    """PAWS (Zhang et al. 2019, arXiv:1904.01130): sentences of the same words that mean the same, or do not."""
    rows = map(json.loads, (public_or_skip("chat/p3_50k") / "p3_50k.jsonl").open())
    found = [
        (match[1], match[2], row["completion"].startswith("Yes"))
        for row in rows
        if row["task"] == "paws_labeled_final_Concatenation"
        and (match := re.search(r"Sentence 1: (.*?)\nSentence 2: (.*?)\nQ", row["prompt"], re.DOTALL))
    ]
    wrong = sum(share(one, other) and not same for one, other, same in found)
    right = sum(share(one, other) and same for one, other, same in found)
    assert (len(found), wrong) == (200, 0)
    assert right >= 5
