"""What the service itself knows of requests and replies: named rules and the small classifier."""

from __future__ import annotations

from collections.abc import Mapping

from serving.guard.patterns import Place, attack
from thumbwheel.moderation.classifier import classifier


def broken_rule(text: str, place: Place, by_patterns: bool, thresholds: Mapping[str, float]) -> str | None:
    """Return the rule that a text breaks: a pattern's name, or `classifier_` and the head; None for none.

    `thresholds` maps heads of the classifier to the probability from which they count; those left out do not.
    """
    if by_patterns and (name := attack(text, place)):
        return name
    scores = classifier().scores(text) if thresholds else {}
    return next((f"classifier_{head}" for head, least in thresholds.items() if scores[head] >= least), None)
