"""What is trained on is what is served, token by token, and the loss is of the answers alone."""

from __future__ import annotations

from typing import Any

import pytest

from stages import templates
from tests.fakes import tiny_tokenizer
from thumbwheel.errors import TrainingError

CHATS = [
    [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Two and 2?"},
        {"role": "assistant", "content": "Four.\n\n- 4 "},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes, für sicher 😀"},
    ],
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.mark.parametrize("messages", CHATS)
def test_training_sees_the_same_tokens_as_serving(tokenizer: Any, messages: list[dict[str, str]]) -> None:
    encoded = templates.encode(tokenizer, templates.training_template(tokenizer), messages, 512)
    served = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    assert encoded["input_ids"] == served


@pytest.mark.parametrize("messages", CHATS)
def test_labels_cover_exactly_the_answers_and_their_ends(tokenizer: Any, messages: list[dict[str, str]]) -> None:
    labels = templates.encode(tokenizer, templates.training_template(tokenizer), messages, 512)["labels"]
    trained = tokenizer.decode([label for label in labels if label != templates.IGNORED])
    assert trained == "".join(m["content"] + "<|im_end|>" for m in messages if m["role"] == "assistant")


def test_a_template_that_marks_its_answers_is_kept(tokenizer: Any) -> None:
    marked = tiny_tokenizer()
    marked.chat_template = templates.training_template(tokenizer)
    assert templates.training_template(marked) == marked.chat_template


def test_a_template_of_an_unknown_family_is_refused() -> None:
    strange = tiny_tokenizer()
    strange.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"
    with pytest.raises(TrainingError, match="generation"):
        templates.training_template(strange)
