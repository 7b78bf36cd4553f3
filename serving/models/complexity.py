"""How complex a request is, 0 to 1, by marks that stand in its form: no model is asked.

Each mark is a share from 0 to 1, and each adds its weight's part of what is left to 1 (a noisy or), so that more marks
never make a request simpler. Code, formulas and length show in any language; words that ask for reasoning are English.
What a question takes to *know* does not show in its form, and is not measured.
"""

from __future__ import annotations

import re
from math import prod
from typing import Literal

from serving.history import Messages, question_of
from serving.models.options import ComplexityOptions

Kind = Literal["simple", "complex"]

CODE = re.compile(
    r"```|^\s{0,8}(?:def|class|import|from|return|function|const|let|var|public|#include|SELECT|CREATE)\b"
    r"|[;{]\s*$|\w\(\w*\)|=>|::|==|\b\w+_\w+\b|\b[a-z]+[A-Z]\w*\b"
    r"|\b(?:python|javascript|java|c\+\+|sql|regex|bash|html|css|api|algorithm|function|compile|debug|traceback)\b",
    re.MULTILINE,
)
MATHS = re.compile(
    r"\d\s?[-+*/^=<>×÷%]\s?[\d(a-z]|\\(?:frac|sum|int|sqrt|begin)\b|[∑∫√≤≥≠π]|\$\d|\d\s?%|\b\d+(?:\.\d+)?\b"
    r"|\b(?:equation|integral|derivative|probability|average|total|percent|twice|half|how many|how much)\b",
    re.IGNORECASE,
)
REASONING = re.compile(
    r"\b(?:why|how (?:would|could|does|do|can|should)|explain|compare|contrast|prove|derive|analy[sz]e|evaluate|design|"
    r"implement|optimi[sz]e|step[- ]by[- ]step|in detail|difference between|pros and cons|trade-?offs?|what if|"
    r"justify|estimate|calculate|compute|solve|determine|deduce|plan)\b",
    re.IGNORECASE,
)
ASKS = re.compile(
    r"[?？]|^\s*(?:[-*•]|\d{1,2}[.)])\s|\b(?:then|also|and finally|make sure|at least|at most)\b", re.M | re.I
)
ENOUGH = {"code": 4, "maths": 6, "reasoning": 2}
"""So many findings are full marks; of asks, the first is what makes a question and counts for nothing."""
MORE_ASKS = 4


def complexity(messages: Messages, options: ComplexityOptions) -> float:
    """Return the complexity of what the user said last, 0 to 1; more marks never give less."""
    marks, weights = marks_of(messages, options), options.weights.model_dump()
    return 1 - prod(1 - weights[name] * share for name, share in marks.items())


def marks_of(messages: Messages, options: ComplexityOptions) -> dict[str, float]:
    """Return the share, 0 to 1, of each mark; the names are those of the weights."""
    text = question_of(messages)
    found = {"code": CODE, "maths": MATHS, "reasoning": REASONING}
    turns = sum(message["role"] == "user" for message in messages) - 1
    return {
        "length": min(1.0, len(text) / options.characters),
        "turns": min(1.0, turns / (options.turns - 1)),
        **{name: min(1.0, count(mark, text, ENOUGH[name]) / ENOUGH[name]) for name, mark in found.items()},
        "asks": max(0, count(ASKS, text, MORE_ASKS + 1) - 1) / MORE_ASKS,
    }


def count(mark: re.Pattern[str], text: str, enough: int) -> int:
    """Return how often a mark is found, and no more than is needed."""
    return sum(1 for _ in zip(range(enough), mark.finditer(text), strict=False))


def kind_of(value: float, options: ComplexityOptions) -> Kind | None:
    """Return what kind of request this is, or None for what lies between simple and complex."""
    return "simple" if value < options.simple else "complex" if value >= options.complex else None
