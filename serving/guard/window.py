"""The stream's sliding window: what could still become a forbidden sequence, personal data or a link is held back.

A pure state machine over characters: what has left is a function of the characters so far alone, never of how they
were cut into chunks. A word is held until it ends; words that may go on as one value (digits, short capitals, months)
are held until a word comes that cannot belong to it.
"""

from __future__ import annotations

import re

from serving.guard.screen import Screen, Span
from serving.guard.sequences import Trace
from serving.guard.verdict import Verdict
from thumbwheel.pii.redact import canonical

CONTEXT = 240
"""Characters before what is held in which a word may say what a number is; the detector looks back up to 120."""
LONGEST_VALUE = 80
"""Characters of the longest value with blanks in it: an IBAN in groups, a telephone number, a date in words."""
MAX_ROUNDS = 256
"""Values replaced in what leaves at once, before the reply is ended."""
LINKING = re.compile(
    r"\W*|.*\d.*|[A-Z]{1,4}[,.]?|\(?(?:of|ext?|x|tel|fax|cc)[.:]?"
    r"|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,8}[.,]?",
    re.DOTALL,
)
"""A word behind which a value may go on."""
GROUP = re.compile(r"\w{1,4}")
"""A word that may be a group of a value whose last group had a digit: `gb82 west 1234`."""
WIDE = re.compile(r"[\u0e00-\u0e7f\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
"""Letters of scripts without blanks; each stands for a word."""
UNSEEN = re.compile(r"[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\U000e0000-\U000e007f]")
"""Characters that show nothing, turn the direction of writing, or smuggle text past the reader; they never leave."""
REMOVED = "[link removed]"
OVERLONG = "[…]"
"""Stands for a word that is longer than the window."""


class Window:
    """One reply on its way out."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.verdicts: list[Verdict] = []
        """What was found, in the order of the text; at most the last one blocks."""
        self._text = ""
        """What has left lately, as it left, and from `_from` on what is held back."""
        self._from = 0
        self._word = 0
        self._ends: list[int] = []
        """Places at which the text held back may be cut."""
        self._after_digit = False
        self._overlong = False
        self._trace = Trace(screen.sequences)
        self._names: dict[tuple[str, str], str] = {}
        """The placeholder of each value, by rule and value."""

    @property
    def blocked(self) -> Verdict | None:
        """The verdict that ended the reply."""
        return self.verdicts[-1] if self.verdicts and self.verdicts[-1].action == "block" else None

    @property
    def held(self) -> int:
        """Characters held back."""
        return len(self._text) - self._from

    def feed(self, text: str) -> str:
        """Take the next piece of a reply and return what may leave now."""
        return "".join([self._take(character) for character in UNSEEN.sub("", text)])

    def close(self) -> str:
        """Return what is still held and may leave, after the last piece."""
        return "" if self.blocked else self._release(len(self._text))

    def _take(self, character: str) -> str:
        if self.blocked:
            return ""
        if self._trace.step(character, len(self._text)):
            return self._block("forbidden_sequence")
        if self._overlong and not character.isspace():
            return ""
        self._overlong = False
        self._text += character
        if character.isspace() or WIDE.match(character):
            return self._word_ended()
        return self._force() if self.held > self.screen.options.hold_characters else ""

    def _word_ended(self) -> str:
        word, self._word = self._text[self._word :].rstrip(), len(self._text)
        goes_on = LINKING.fullmatch(word) or (self._after_digit and GROUP.fullmatch(word))
        self._after_digit = any(map(str.isdigit, word)) if word else self._after_digit
        if not goes_on:
            self._ends.append(self._word)
        cut = max((end for end in self._ends if end <= self._limit()), default=0)
        return self._release(cut) if cut else self._force()

    def _limit(self) -> int:
        """Return where the text begins that could still become a forbidden sequence."""
        return len(self._text) if self._trace.start is None else self._trace.start

    def _force(self) -> str:
        """Let the beginning of a long run of numbers go; of one endless word, let nothing leave."""
        if self.held <= self.screen.options.hold_characters:
            return ""
        limit = min(len(self._text) - LONGEST_VALUE, self._limit())
        cut = max(self._text.rfind(blank, self._from, limit) for blank in " \n\t") + 1
        out = self._release(cut) if cut else ""
        return out if out or self.blocked else self._swallow()

    def _swallow(self) -> str:
        self.verdicts.append(Verdict("stream", "overlong", "redact"))
        self._overlong = True
        self._text = self._text[: self._from] + OVERLONG
        return self._leave(len(self._text), len(self._text))

    def _release(self, cut: int) -> str:
        """Return the text up to a place, or to a value that reaches beyond it, without what must not leave."""
        spans = self._spans(self._text)
        cut = min([cut, *(start for start, end, _ in spans if self._from <= start < cut < end)])
        cut = max([cut, *(end for start, end, _ in spans if start < self._from and cut < end)])
        if not any(start < cut for start, _, _ in spans):
            return self._leave(cut, cut)
        return self._redact(self._text[:cut], self._text[cut:])

    def _redact(self, head: str, tail: str) -> str:
        """Return the head with a placeholder for each value; one may bring the next number nearer to a telling word."""
        raw = len(head)
        for _ in range(MAX_ROUNDS):
            span = next((span for span in self._spans(head + tail) if span[0] < len(head)), None)
            if span is None:
                self._text = head + tail
                return self._leave(len(head), raw)
            start, end, kind = span
            if self.screen.refuses(kind):
                return self._block(kind)
            self.verdicts.append(Verdict("stream", kind, "redact"))
            name = self._name(kind, (head + tail)[start:end])
            head = head[: max(start, self._from)] + name + head[end:]
        return self._block("too_many_values")

    def _name(self, rule: str, value: str) -> str:
        """Return the placeholder of a value: the same for the same value of one reply."""
        if rule == "link":
            return REMOVED
        kind = rule.removeprefix("pii_")
        number = 1 + sum(known == rule for known, _ in self._names)
        return self._names.setdefault((rule, canonical(kind, value)), f"[{kind.upper()}_{number}]")

    def _spans(self, text: str) -> list[Span]:
        return [span for span in self.screen.spans(text) if span[1] > self._from]

    def _leave(self, cut: int, raw: int) -> str:
        """Cut what leaves from the text and move all places, which were told of the text whose cut was at `raw`."""
        out, kept = self._text[self._from : cut], self._text[max(0, cut - CONTEXT) : cut]
        self._text = kept + self._text[cut:]
        self._from = len(kept)
        by = len(kept) - raw
        self._word = max(self._word + by, self._from)
        self._ends = [end + by for end in self._ends if end > raw]
        self._trace.shift(by)
        return out

    def _block(self, rule: str) -> str:
        self.verdicts.append(Verdict("stream", rule))
        self._text = self._text[: self._from]
        return ""
