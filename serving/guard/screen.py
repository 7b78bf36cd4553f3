"""What a stream is searched for: one for all replies."""

from __future__ import annotations

from serving.guard.links import links
from serving.guard.options import StreamOptions
from serving.guard.personal import Personal
from serving.guard.sequences import Sequences, Trace
from thumbwheel.moderation.normalise import fold

Span = tuple[int, int, str]
"""Start, end and rule: `link`, or `pii_` and the kind."""


class Screen:
    """Forbidden sequences, personal data and links to hosts that are not allowed."""

    def __init__(self, options: StreamOptions, personal: Personal) -> None:
        self.options, self._personal = options, personal
        self.sequences = Sequences(filter(None, map(fold, options.forbidden)))

    def spans(self, text: str) -> list[Span]:
        """Return what must not leave, by start, without overlaps."""
        hosts = self.options.hosts
        found = [] if hosts is None else [(start, end, "link") for start, end in links(text, hosts)]
        if self._personal.options.output != "allow":
            found += [(each.start, each.end, f"pii_{each.kind}") for each in self._personal.find(text)]
        return _joined(sorted(found)) if len(found) > 1 else found

    def rule(self, text: str) -> str | None:
        """Return the first rule that a whole text breaks, None for none."""
        trace = Trace(self.sequences)
        if any(trace.step(character, place) for place, character in enumerate(text)):
            return "forbidden_sequence"
        return next((rule for _, _, rule in self.spans(text)), None)

    def refuses(self, rule: str) -> bool:
        """Tell whether a reply ends where this is found, instead of going on without it."""
        return rule != "link" and self._personal.options.output == "refuse"


def _joined(spans: list[Span]) -> list[Span]:
    joined = spans[:1]
    for start, end, rule in spans[1:]:
        if start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]), joined[-1][2])
        else:
            joined.append((start, end, rule))
    return joined
