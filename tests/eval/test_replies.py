"""Faults of form: what a chat template leaves in a reply, and words that go round in circles."""

from __future__ import annotations

import pytest

from eval.replies import goes_in_circles, has_marks


@pytest.mark.parametrize(
    "reply",
    [
        "Sure.<|im_end|>\n<|im_start|>user",
        "### Response:\nPress the button.",
        "Press it.\nUser: And then?",
        "[INST] hello [/INST]",
        "**Assistant:** Gladly.",
        "Human : what?",
    ],
)
def test_marks_of_a_chat_template_are_seen(reply: str) -> None:
    assert has_marks(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "The user: a person who presses the button. In response: it blinks.",
        "Users and assistants are people.",
        "### Steps\n1. Press the button.",
        "",
    ],
)
def test_words_that_only_look_like_marks_are_not(reply: str) -> None:
    assert not has_marks(reply)


def test_a_reply_that_says_the_same_again_and_again_goes_in_circles() -> None:
    assert goes_in_circles("I can help you with that. " * 6)
    assert goes_in_circles("no " * 40)
    assert not goes_in_circles("Take it off the wall, wait ten seconds, then press the button until it is green.")
    assert not goes_in_circles("No. No. No.")
