"""Chat templates for training: the served one with marks around each answer, and conversations encoded by it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from thumbwheel.errors import TrainingError

IGNORED = -100
"""Label of a token that the loss passes over."""

_CHATML_TURN = re.compile(
    r"\{\{-?\s*'<\|im_start\|>'\s*\+\s*message(?:\['role'\]|\.role)\s*\+\s*'(?:\n|\\n)'\s*\+\s*"
    r"message(?:\['content'\]|\.content)\s*\+\s*'<\|im_end\|>'\s*\+\s*'(?:\n|\\n)'\s*-?\}\}"
)
_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
_MARKED_TURN = (
    "{% if message['role'] == 'assistant' %}{{ '<|im_start|>assistant\\n' }}{% generation %}"
    "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}{% else %}TURN{% endif %}"
)
_PROBE = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Two and 2?"},
    {"role": "assistant", "content": " Four.\n\n- 4 "},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes!"},
]


def training_template(tokenizer: Any) -> str:
    """Return the served chat template with generation marks around each answer and its end-of-turn token.

    Raises:
        TrainingError: the template is of a family that cannot be marked, or marking would change its tokens.
    """
    served = tokenizer.chat_template
    if _MARK.search(served):
        return str(served)
    marked = _CHATML_TURN.sub(lambda turn: _MARKED_TURN.replace("TURN", turn[0]), served)
    if marked == served:
        marked = _known_template(tokenizer)
    for turns in (_PROBE, _PROBE[1:]):
        plain = tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
        if tokenizer.apply_chat_template(turns, chat_template=marked, return_dict=True)["input_ids"] != plain:
            raise TrainingError("the training chat template renders other tokens than the served one of models/base.")
    return marked


def encode(tokenizer: Any, template: str, messages: Sequence[Mapping[str, str]], limit: int) -> dict[str, list[int]]:
    """Return `input_ids` and `labels` of a conversation, cut after `limit` tokens.

    `labels` repeats the ids of every answer and its end-of-turn token, and is `IGNORED` elsewhere.
    """
    rendered = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        chat_template=template,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids, mask = rendered["input_ids"][:limit], rendered["assistant_masks"][:limit]
    return {"input_ids": ids, "labels": [token if on else IGNORED for token, on in zip(ids, mask, strict=True)]}


def _known_template(tokenizer: Any) -> str:
    from trl.chat_template_utils import get_training_chat_template

    try:
        return str(get_training_chat_template(tokenizer))
    except ValueError:
        raise TrainingError(
            "the chat template of models/base cannot be marked for assistant-only training; add "
            "{% generation %} … {% endgeneration %} around its answers."
        ) from None
