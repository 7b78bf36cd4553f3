"""What is wrong with a reply by its form alone: marks of a chat template in it, or words that go round in circles."""

from __future__ import annotations

import re

from thumbwheel.circles import repeated

MARKS = re.compile(
    r"<\|(?:im_start|im_end|endoftext|system|user|assistant|eot_id|start_header_id)\|>|\[/?INST\]|<</?SYS>>|"
    r"^\W{0,4}(?:instruction|response|human|user|assistant|system)\W{0,3}:",
    re.I | re.M,
)
"""Role marks of the common chat templates, and role names that open a line."""
GRAM, ENOUGH, MOST = 3, 15, 0.7
"""Words of a run, words from which a reply is looked at, and the share of its words that may stand in repeated runs."""


def has_marks(reply: str) -> bool:
    """Return whether a reply holds a chat template's marks: it speaks a template's part, or goes on as the user."""
    return MARKS.search(reply) is not None


def goes_in_circles(reply: str) -> bool:
    """Return whether most of a reply's words stand in runs that come again."""
    words = re.findall(r"\w+", reply.casefold())
    if len(words) < ENOUGH:
        return False
    return repeated(words, GRAM) > MOST * len(words)
