"""The window over conversations of any shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.history import Messages
from serving.memory.tokens import with_system
from serving.memory.window import TooLongError, fit, flat, turns_of
from tests.fakes import WordTokens

COUNT = WordTokens().count
WORDS = st.integers(1, 12).map(lambda n: "word " * n)
MESSAGES = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), WORDS), max_size=14).map(
    lambda rows: [*({"role": role, "content": text} for role, text in rows), {"role": "user", "content": "last"}]
)


def fitted(messages: Messages, budget: int, system: str = "be kind") -> Messages | None:
    try:
        return fit(messages, lambda some: COUNT(with_system(system, some)), budget).messages
    except TooLongError:
        return None


@given(messages=MESSAGES, budget=st.integers(0, 250))
def test_a_prompt_is_never_over_its_budget_and_always_ends_with_the_newest_turn(
    messages: Messages, budget: int
) -> None:
    kept = fitted(messages, budget)
    newest = turns_of(messages)[-1]
    if kept is None:
        assert COUNT(with_system("be kind", newest)) > budget
    else:
        assert COUNT(with_system("be kind", kept)) <= budget
        assert kept[-len(newest) :] == newest


@given(messages=MESSAGES, budget=st.integers(0, 250))
def test_what_stays_is_the_end_of_the_conversation_in_whole_turns(messages: Messages, budget: int) -> None:
    kept = fitted(messages, budget)
    if kept is not None:
        assert kept == messages[len(messages) - len(kept) :]
        assert kept in [flat(turns_of(messages)[start:]) for start in range(len(turns_of(messages)))]


@given(messages=MESSAGES, budget=st.integers(0, 250))
def test_one_more_turn_would_not_have_fitted(messages: Messages, budget: int) -> None:
    kept = fitted(messages, budget)
    if kept is not None and len(kept) < len(messages):
        turns = turns_of(messages)
        more = flat(turns[len(turns) - len(turns_of(kept)) - 1 :])
        assert COUNT(with_system("be kind", more)) > budget


@given(messages=MESSAGES, budget=st.integers(0, 250), more=st.integers(0, 50))
def test_a_larger_budget_never_keeps_less(messages: Messages, budget: int, more: int) -> None:
    kept = fitted(messages, budget)
    if kept is not None:
        assert len(fitted(messages, budget + more) or []) >= len(kept)


@given(messages=MESSAGES)
def test_turns_put_together_are_the_messages_and_only_the_first_may_lack_a_question(messages: Messages) -> None:
    turns = turns_of(messages)
    assert flat(turns) == messages
    assert all(turn[0]["role"] == "user" for turn in turns[1:])
    assert all(message["role"] == "assistant" for turn in turns for message in turn[1:])


def test_what_left_and_how_long_it_was_is_told() -> None:
    messages = [
        {"role": "user", "content": "a b c"},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "e"},
    ]
    got = fit(messages, COUNT, 10)
    assert (got.messages, got.dropped, got.tokens, got.whole_tokens) == (messages[2:], 2, 8, 20)
    with pytest.raises(TooLongError, match="takes 8 tokens of 7"):
        fit(messages, COUNT, 7)
