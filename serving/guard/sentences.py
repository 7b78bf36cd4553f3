"""A reply cut into sentences as it comes; joined again they are the reply, however it was cut into chunks."""

from __future__ import annotations

import re

END = re.compile(r"[.!?…][)\]\"'”’»*_]*\s|[。！？]|\n")
"""Where a sentence ends: behind this."""


class Sentences:
    """Collects text until a sentence ends; a longer one is cut at a blank."""

    def __init__(self, longest: int, first: int | None = None) -> None:
        """`longest` is in characters, and `first` of the very first piece, where that shall come sooner."""
        self._limit, self._longest = first or longest, longest
        self._text = ""

    def feed(self, text: str) -> list[str]:
        """Take the next piece and return the sentences that ended."""
        self._text += text
        return list(iter(self._next, ""))

    def close(self) -> str:
        """Return what is left, which no sign ended."""
        left, self._text = self._text, ""
        return left

    def _next(self) -> str:
        match = END.search(self._text, 0, self._limit)
        end = match.end() if match else self._cut()
        sentence, self._text = self._text[:end], self._text[end:]
        self._limit = self._longest if sentence else self._limit
        return sentence

    def _cut(self) -> int:
        if len(self._text) < self._limit:
            return 0
        return self._text.rfind(" ", 0, self._limit) + 1 or self._limit


def has_ended(sentence: str) -> bool:
    """Tell whether a piece is a sentence to its end, and was not cut for its length."""
    return any(match.end() == len(sentence) for match in END.finditer(sentence))
