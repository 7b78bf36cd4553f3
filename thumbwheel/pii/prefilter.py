"""One pass over a text's bytes that tells which rules could find something, by Hyperscan.

Hyperscan (Wang et al., NSDI 2019) matches all hints at once. Where it is not installed every rule runs; the findings
are the same, for a hint only ever says where a rule finds nothing.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from thumbwheel.pii.rules import Rule

Prefilter = Callable[[str], Sequence[int]]
"""Takes a text, returns the numbers of the rules worth running, in order."""


def every_rule(rules: Sequence[Rule]) -> Prefilter:
    """Return the filter that lets every rule run."""
    everything = range(len(rules))
    return lambda text: everything


class Scanner:
    """Some expressions, compiled; one for all threads."""

    def __init__(self, expressions: Sequence[bytes]) -> None:
        self._database = _compiled(expressions)
        self._local = threading.local()

    def __call__(self, data: bytes) -> list[int]:
        """Return the numbers of the expressions that match somewhere, each once."""
        seen: list[int] = []
        scratch = getattr(self._local, "scratch", None) or self._scratch()
        self._database.scan(data, lambda i, start, end, flags, context: seen.append(i), 0, None, scratch)
        return seen

    def _scratch(self) -> Any:
        """Return this thread's working memory; it serves one scan at a time."""
        import hyperscan

        self._local.scratch = hyperscan.Scratch(self._database)
        return self._local.scratch


class Hyperscan:
    """The hints of some rules: one pass for all of them, and one for words where a hint calls for words."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Compile the hints.

        Raises:
            ImportError: Hyperscan is not installed, or not for this processor.
        """
        self._hints, self._scan_hints = _by_expression((i, hint) for i, rule in enumerate(rules) for hint in rule.hints)
        self._words, self._scan_words = _by_expression((i, word) for i, rule in enumerate(rules) for word in rule.words)
        self._need_words = frozenset(i for i, rule in enumerate(rules) if rule.words)

    def __call__(self, text: str) -> Sequence[int]:
        """Return the numbers of the rules worth running, in order."""
        data = text.encode("utf-8", "surrogatepass")
        seen = self._scan_hints(data)
        return self._worth(seen, data) if seen else ()

    def _worth(self, seen: Sequence[int], data: bytes) -> Sequence[int]:
        hinted = {rule for i in seen for rule in self._hints[i]}
        if not hinted.isdisjoint(self._need_words):
            named = {rule for i in self._scan_words(data) for rule in self._words[i]}
            hinted -= self._need_words - named
        return sorted(hinted)


def prefilter(rules: tuple[Rule, ...]) -> Prefilter:
    """Return the fastest filter that can be had here; to compile it costs a quarter of a CPU-second."""
    try:
        return Hyperscan(rules)
    except ImportError:
        return every_rule(rules)


def _by_expression(pairs: Iterable[tuple[int, bytes]]) -> tuple[list[tuple[int, ...]], Scanner]:
    """Return the rules of each expression, and the scanner for the expressions in that order."""
    rules: dict[bytes, list[int]] = defaultdict(list)
    for rule, expression in pairs:
        rules[expression].append(rule)
    return [tuple(each) for each in rules.values()], Scanner(list(rules))


def _compiled(expressions: Sequence[bytes]) -> Any:
    import hyperscan

    database = hyperscan.Database()
    flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_DOTALL
    database.compile(
        expressions=list(expressions),
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[flags] * len(expressions),
    )
    return database
