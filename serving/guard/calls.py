"""Calls of tools on their way out, judged whole: what they ask for is acted on, so nothing in them is replaced.

A value that a reply's text would only lose, such as a link to a host that is not allowed, refuses a call: with a
placeholder in its stead the tool would do something that nobody meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serving.guard.moderation import broken_rule
from serving.guard.options import OutputOptions
from serving.guard.screen import Screen
from serving.guard.sentences import Sentences
from serving.guard.verdict import Verdict
from serving.guard.window import UNSEEN
from serving.history import Call
from serving.tools.arguments import readings


def broken_by(calls: Sequence[Call], screen: Screen | None, output: OutputOptions | None) -> Verdict | None:
    """Return the verdict that refuses calls, None for none; it depends on their names and arguments alone."""
    for call in calls:
        texts = [UNSEEN.sub("", text) for text in (call["function"]["name"], *readings(call["function"]["arguments"]))]
        for text in texts:
            if screen and (rule := screen.rule(text)):
                return Verdict("stream", rule)
        if output and (rule := _said_rule(texts[-1], output)):
            return Verdict("output", rule)
    return None


def _said_rule(text: str, output: OutputOptions) -> str | None:
    thresholds = output.classifier.model_dump() if output.classifier else {}
    found = (broken_rule(part, "reply", output.patterns, thresholds) for part in _parts(text, output))
    return next(filter(None, found), None)


def _parts(text: str, output: OutputOptions) -> Iterator[str]:
    sentences = Sentences(output.sentence_characters)
    yield from filter(str.strip, [*sentences.feed(text), sentences.close()])
    yield text
