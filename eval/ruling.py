"""What a judge said, read from its reply: a probability for each verdict, or why there is none.

Where the endpoint gives token probabilities, a verdict is read from them; where it does not, from the reply's text.
What cannot be read is an error, never a tie and never a score.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Verdicts = Literal["letter", "score", "rubric"]
NAMES: dict[Verdicts, tuple[str, ...]] = {
    "letter": ("A", "B", "C"),
    "score": tuple(str(grade) for grade in range(1, 11)),
    "rubric": tuple(str(grade) for grade in range(1, 6)),
}
SPOKEN: dict[Verdicts, re.Pattern[str]] = {
    "letter": re.compile(
        r"(?:.*\[\[([ABC])\]\].*|\W*(?:answer|assistant|verdict|conversation)?\W*([ABC])\W*)", re.I | re.S
    ),
    "score": re.compile(
        r"(?:.*\[\[(10|[1-9])\]\].*|\W*(?:grade|score|rating)?\W*(10|[1-9])(?:\s*/\s*10)?\W*)", re.I | re.S
    ),
    "rubric": re.compile(r"(?:.*\[\[([1-5])\]\].*|\W*(?:grade|score|rating)?\W*([1-5])(?:\s*/\s*5)?\W*)", re.I | re.S),
}


@dataclass(frozen=True)
class Ruling:
    """What the judge said: a probability for each verdict (they sum to 1), or why there is none."""

    probabilities: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    @property
    def first_is_better(self) -> float:
        """Probability that answer A is better, a tie counted half to each."""
        return self.probabilities["A"] + 0.5 * self.probabilities["C"]

    @property
    def expected_score(self) -> float:
        """Expected grade on the prompt's scale."""
        return sum(int(score) * share for score, share in self.probabilities.items())


def winner(ruling: Ruling, tie_margin: float) -> str:
    """Return `first`, `second` or `tie`; a tie is within `tie_margin` of a half, or has C as the likeliest."""
    shares = ruling.probabilities
    if shares["C"] > max(shares["A"], shares["B"]) or abs(ruling.first_is_better - 0.5) <= tie_margin:
        return "tie"
    return "first" if ruling.first_is_better > 0.5 else "second"


def resolve(one: str, other: str) -> tuple[str, bool]:
    """Join the verdicts of both orders into (winner, flipped): a verdict that turns with the order is a flipped tie."""
    if one == other:
        return one, False
    return "tie", "tie" not in (one, other)


def read_ruling(reply: Mapping[str, Any], verdicts: Verdicts, min_mass: float) -> Ruling:
    """Read a ruling from a reply: from its tokens' probabilities, else from its text, else an error.

    `min_mass` is the least probability that the verdict tokens must hold together for the rest to be ignored.
    """
    if "error" in reply:
        return Ruling(error=str(reply["error"]))
    steps = list(reply.get("steps") or [])
    while steps and not steps[0]["token"].strip():
        steps.pop(0)
    shares = _letter_shares(steps) if verdicts == "letter" else _score_shares(steps, NAMES[verdicts])
    if (mass := sum(shares.values())) >= min_mass and mass > 0:
        return Ruling({name: share / mass for name, share in shares.items()})
    if match := SPOKEN[verdicts].fullmatch(str(reply["text"])):
        said = (match[1] or match[2]).upper()
        return Ruling({name: float(name == said) for name in NAMES[verdicts]})
    return Ruling(error=f"unparseable: {str(reply['text'])[:80]!r}")


def _letter_shares(steps: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    shares = dict.fromkeys(NAMES["letter"], 0.0)
    for token, logprob in steps[0]["top"] if steps else []:
        if (letter := token.strip(" \n[(*").upper()) in shares:
            shares[letter] += math.exp(logprob)
    return shares


def _score_shares(steps: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
    """Return the probability of each grade.

    Many tokenizers spell 10 as "1" and "0". Where "10" is no token, "1" counts only if it was the one said, and is
    then shared between 1 and 10 by what came next; otherwise it could mean either and is left out.
    """
    shares = dict.fromkeys(names, 0.0)
    if not steps:
        return shares
    for token, logprob in steps[0]["top"]:
        if token.strip() in shares:
            shares[token.strip()] += math.exp(logprob)
    if shares.get("10") == 0.0 and shares["1"] > 0.0:
        one = shares["1"]
        shares["1"] = 0.0
        if steps[0]["token"].strip() == "1" and len(steps) > 1:
            zero = sum(math.exp(logprob) for token, logprob in steps[1]["top"] if token == "0")
            shares["1"], shares["10"] = one * (1 - zero), one * zero
    return shares
