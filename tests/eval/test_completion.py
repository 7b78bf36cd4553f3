"""What is taken from a judge's response, and that no garbage in it is taken for a verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.completion import read_completion
from eval.ruling import read_ruling

TOP = {"token": "A", "top_logprobs": [{"token": "A", "logprob": -0.1}]}


def response(content: Any = "B", logprobs: Any = None, **body: Any) -> str:
    return json.dumps({"choices": [{"message": {"content": content}, "logprobs": logprobs}], **body})


def test_text_tokens_and_their_alternatives_are_read() -> None:
    found = read_completion(
        response("A", {"content": [TOP]}, usage={"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8})
    )
    assert found == {"text": "A", "steps": [{"token": "A", "top": [["A", -0.1]]}], "usage": [7, 1]}


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [TOP | {"top_logprobs": [{"token": "A", "logprob": None}]}]},
        {"content": [TOP | {"top_logprobs": [{"token": None, "logprob": -0.1}]}]},
        {"content": [TOP | {"top_logprobs": [{"token": "A", "logprob": 3.0}]}]},
        {"content": [TOP | {"top_logprobs": [{"token": "A", "logprob": float("nan")}]}]},
        {"content": [{"token": "A"}]},
        {"content": [TOP | {"token": None}]},
        {"content": "A"},
        {"content": {"A": 1}},
        ["A"],
    ],
)
def test_log_probabilities_that_are_none_leave_the_words(logprobs: Any) -> None:
    found = read_completion(response("B", logprobs))
    assert found is not None
    assert read_ruling(found, "letter", 0.2).probabilities == {"A": 0.0, "B": 1.0, "C": 0.0}


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "completion_tokens": 1}, "7", [7, 1]])
def test_a_count_of_tokens_that_is_none_is_unknown_and_costs_no_verdict(usage: Any) -> None:
    found = read_completion(response("B", usage=usage))
    assert found == {"text": "B", "steps": [], "usage": None}


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "[]", "null", "7", '{"choices": []}', '{"choices": [{}]}', response(["B"]), response({})[:-1]],
)
def test_what_is_no_chat_completion_is_none(text: str) -> None:
    assert read_completion(text) is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["content", "token", "top_logprobs", "logprob", "message"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_whatever_comes_is_a_reply_that_can_be_read_or_none(content: Any, logprobs: Any, usage: Any) -> None:
    found = read_completion(response(content, logprobs, usage=usage))
    if found is not None:
        ruling = read_ruling(json.loads(json.dumps(found)), "letter", 0.2)
        assert ruling.error or sum(ruling.probabilities.values()) == pytest.approx(1.0)
