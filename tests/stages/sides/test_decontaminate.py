"""A planted evaluation question is found verbatim, inside a longer text and in other words, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import split
from stages.sides.decontaminate import Leak, LeakParams, find_leaks, leak_row, leaks_by_set, probes
from stages.sides.items import Item, read_corpus
from tests.stages.vectors import fake_embed
from thumbwheel.embedding import Vectors

PARAMS = LeakParams(leak_words=8, leak_answer_share=0.5, leak_sentence_words=4, leak_cosine=0.9)
LONG = "My parcel has been waiting at the depot since last Tuesday, what now?"
SHORT = "Hub blinks white. Broken?"
ANSWER = "Write to the courier first and then tell us the number of the parcel."


def item(*asked: str, replied: tuple[str, ...] = (), name: str = "a") -> Item:
    return Item(name, "conversations", asked, replied)


def question(text: str, name: str = "q1", *more: str, reference: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"set": "mt_bench", "id": name, "turns": [text, *more], "reference": list(reference)}


def leaks(items: list[Item], *questions: dict[str, Any]) -> list[Leak]:
    looked_for = probes(questions)
    vectors = fake_embed([text for one in items for text in one.asked] + [probe.text for probe in looked_for])
    return find_leaks(read_corpus(items), looked_for, vectors, PARAMS)


def found(row: Item, *questions: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(leak.probe.question, leak.probe.part, leak.how) for leak in leaks([row], *questions)]


QUESTIONS = (question("Other?", "q0"), question(LONG), question(SHORT, "q2"))


@pytest.mark.parametrize(
    ("row", "name", "how"),
    [
        (item(LONG), "q1", "words"),
        (item(f"Hello there! {LONG.upper()} Thanks, Ilse"), "q1", "words"),
        (item("unrelated", "second " + LONG), "q1", "words"),
        (item("Unrelated", replied=(f"You asked: {LONG}",)), "q1", "words"),
        (item("unrelated", "  hub blinks white; broken"), "q2", "whole"),
        (item("Good morning. Hub blinks white. Broken? Thank you."), "q2", "whole"),
        (item("OTHER"), "q0", "whole"),
        (item("Broken? Hub blinks white."), "q2", "meaning"),
        (item("what now, since last Tuesday waiting at the depot my parcel has been"), "q1", "meaning"),
    ],
)
def test_a_leaked_question_is_found_however_it_is_wrapped(row: Item, name: str, how: str) -> None:
    assert found(row, *QUESTIONS) == [(name, "turn 1", how)]


@pytest.mark.parametrize(
    "row",
    [
        item("My parcel has been waiting at the shop, what now?"),
        item("My hub blinks white, is it broken or is it pairing?"),
        item("I know that the Hub blinks white. Broken? No."),
        item("Any other?"),
        item("Unrelated", replied=(SHORT,)),
        item("Hello. Other? Thanks."),
        item(""),
        item("\x00\u202e🙂"),
    ],
)
def test_what_only_resembles_a_question_stays(row: Item) -> None:
    assert found(row, *QUESTIONS) == []


def test_a_later_turn_counts_where_it_is_long_enough_to_stand_alone() -> None:
    asked = question("Write.", "q1", LONG, "Make it shorter.")
    assert found(item(LONG), asked) == [("q1", "turn 2", "words")]
    assert found(item("what now, since last Tuesday waiting at the depot my parcel has been"), asked) == [
        ("q1", "turn 2", "meaning")
    ]
    assert found(item("Make it shorter."), asked) == []


def test_a_reference_answer_leaks_in_whole_and_not_in_a_phrase() -> None:
    asked = question("What then?", reference=(ANSWER, ""))
    assert found(item("Hm", replied=(ANSWER + " Good luck!",)), asked) == [("q1", "answer 1", "words")]
    assert found(item("Hm", replied=("Write to the courier first and then tell me.",)), asked) == []
    assert found(item("Hm", replied=("39 EUR",)), question("How much?", reference=("39 EUR",))) == []


def test_similarity_is_the_share_of_the_question_that_a_row_holds() -> None:
    half = " ".join(LONG.split()[:10])
    (leak,) = leaks([item(half)], question(LONG))
    assert leak.similarity == pytest.approx(3 / 6)


def test_a_row_and_a_question_meet_once_by_what_says_most_and_every_pair_is_reported() -> None:
    both = item(LONG, SHORT, name="both")
    pairs = leaks([item("no"), both, item(LONG, name="one")], *QUESTIONS)
    assert [(leak.row, leak.probe.question, leak.how) for leak in pairs] == [
        (1, "q1", "words"),
        (1, "q2", "whole"),
        (2, "q1", "words"),
    ]
    told = {"questions": 3, "leaked": 2, "in_words": 2, "in_meaning": 2, "rows": 2}
    assert leaks_by_set(pairs, QUESTIONS) == {"mt_bench": told}
    assert leak_row(pairs[1], both)["id"] == "both"


def test_questions_that_leak_in_words_and_those_that_leak_in_meaning_are_counted_apart() -> None:
    reworded = item("what now, since last Tuesday waiting at the depot my parcel has been", name="reworded")
    wrapped = item(f"Hub blinks white. Broken? {'And then? ' * 9}", name="wrapped")
    pairs = leaks([reworded, wrapped, item("OTHER", name="same")], *QUESTIONS)
    assert [(leak.probe.question, sorted(leak.ways)) for leak in pairs] == [
        ("q1", ["meaning"]),
        ("q2", ["whole"]),
        ("q0", ["meaning", "whole"]),
    ]
    told = {"questions": 3, "leaked": 3, "in_words": 2, "in_meaning": 2, "rows": 3}
    assert leaks_by_set(pairs, QUESTIONS) == {"mt_bench": told}


def test_without_questions_or_with_none_that_matches_nothing_leaks() -> None:
    assert leaks([item(LONG)]) == []
    assert leaks([item("a")], question("\x00")) == []


WORDS = st.lists(st.sampled_from("abcdefghij"), max_size=14)


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=3))
def test_shared_words_in_a_row_are_found_exactly(rows: list[list[str]], asked: list[list[str]]) -> None:
    def windows(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + 8]) for i in range(len(words) - 7)}

    items = [item(" ".join(words), name=str(i)) for i, words in enumerate(rows)]
    questions = [question(" ".join(words), str(k)) for k, words in enumerate(asked)]
    pairs = {(leak.row, int(leak.probe.question)) for leak in leaks(items, *questions) if leak.how == "words"}
    assert pairs == {
        (i, k) for i, words in enumerate(rows) for k, other in enumerate(asked) if windows(words) & windows(other)
    }


@given(st.integers(0, 10), st.integers(0, 10), st.lists(st.text(max_size=8), max_size=3))
def test_a_question_planted_anywhere_in_any_text_is_caught(before: int, after: int, noise: list[str]) -> None:
    texts = [f"{'x ' * before}{LONG}{' y' * after}", *noise]
    assert any(leak.probe.question == "q1" for leak in leaks([item(*texts)], question(LONG)))


@pytest.mark.slow
def test_the_real_model_catches_a_reworded_question() -> None:
    rows = [item("When exactly does smart skip skip?"), item("How do I pair a valve?", name="b")]
    asked = question("When does Smart Skip skip?")
    vectors: Vectors = split.embed([text for row in rows for text in row.asked] + asked["turns"], "bfloat16")
    assert [(k.row, k.how) for k in find_leaks(read_corpus(rows), probes([asked]), vectors, PARAMS)] == [(0, "meaning")]
