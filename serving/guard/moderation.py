"""What the service itself knows of requests and replies: named rules and the small classifier."""

from __future__ import annotations

from collections.abc import Mapping

from serving.guard.patterns import Place, first_match
from thumbwheel.moderation.classifier import classifier
from thumbwheel.moderation.encodings import decoded
from thumbwheel.moderation.normalise import views


def broken_rule(text: str, place: Place, by_patterns: bool, thresholds: Mapping[str, float]) -> str | None:
    """Return the rule that a text breaks: a pattern's name, or `classifier_` and the head; None for none.

    `thresholds` maps heads of the classifier to the probability from which they count; those left out do not. It looks
    at what a text encodes, too.
    """
    encoded = [*decoded(text)]
    if by_patterns and (name := first_match(views(text, encoded), place)):
        return name
    for reading in (text, *encoded) if thresholds else ():
        scores = classifier().scores(reading)
        if (head := next((head for head, least in thresholds.items() if scores[head] >= least), None)) is not None:
            return f"classifier_{head}"
    return None
