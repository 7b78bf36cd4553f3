"""Replace what is found, so that one value has one name through a conversation and a second pass changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from thumbwheel.pii.detect import REGIONS, find
from thumbwheel.pii.folding import fold
from thumbwheel.pii.kinds import KINDS, Finding
from thumbwheel.pii.pseudonyms import Pseudonyms, is_reserved

Mode = Literal["placeholder", "pseudonym", "drop"]
"""What becomes of a kind: a typed placeholder `[EMAIL_1]`, a made-up value of its form, or the row is turned away."""
PLACEHOLDERS: Mapping[str, Mode] = dict.fromkeys(KINDS, "placeholder")

PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_]*_\d+\]")
MAX_ROUNDS = 8
"""After so many rounds of pseudonyms that bring forth new findings, placeholders are used; those come to an end."""
MAX_DRAWS = 64
"""Pseudonyms tried for one value before a placeholder is used: some reserved ranges are small."""


class Redactor:
    """Replaces the findings of one conversation."""

    def __init__(
        self,
        modes: Mapping[str, Mode] = PLACEHOLDERS,
        regions: tuple[str, ...] = REGIONS,
        allow: tuple[re.Pattern[str], ...] = (),
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        """`modes` are the kinds to look for; mode `pseudonym` needs `pseudonyms`, keyed for this conversation."""
        self.modes, self.regions, self.allow, self.pseudonyms = modes, regions, allow, pseudonyms
        self.counts: dict[str, int] = {}
        """How many findings of each kind were replaced."""
        self._names: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    @property
    def refused(self) -> str | None:
        """The first kind found for which the row is to be turned away."""
        return next((kind for kind in self.counts if self.modes[kind] == "drop"), None)

    def redact_all(self, texts: Iterable[str]) -> list[str]:
        """Return the texts of a conversation redacted; no placeholder that stands in any of them is given out again."""
        texts = list(texts)
        for text in texts:
            self._reserve(text)
        return [self.redact(text) for text in texts]

    def redact(self, text: str) -> str:
        """Return `text` with every finding replaced. Redacting the result again changes nothing."""
        self._reserve(text)
        rounds = 0
        while (replaced := self._once(text, rounds < MAX_ROUNDS)) != text:
            text = replaced  # a placeholder is shorter than most values, and so brings words near the next number
            rounds += 1
        return text

    def _reserve(self, text: str) -> None:
        if "[" in text:
            self._taken.update(PLACEHOLDER.findall(text))

    def _once(self, text: str, pseudonyms: bool) -> str:
        parts, at = [], 0
        for found in find(text, self.modes, self.regions):
            if self._stays(found):
                continue
            parts += [text[at : found.start], self._name(found, pseudonyms)]
            self.counts[found.kind] = self.counts.get(found.kind, 0) + 1
            at = found.end
        return "".join([*parts, text[at:]]) if parts else text

    def _stays(self, found: Finding) -> bool:
        """Tell whether a value is allowed, or was given here already; a pseudonym is of a range that nobody has."""
        if self.modes[found.kind] == "pseudonym" and is_reserved(found.kind, found.value):
            self._taken.add(found.value)
            return True
        is_name = PLACEHOLDER.fullmatch(found.value) is not None
        return is_name or any(pattern.fullmatch(found.value) for pattern in self.allow)

    def _name(self, found: Finding, pseudonyms: bool) -> str:
        key = (found.kind, canonical(found.kind, found.value))
        if key not in self._names and found.kind == "person" and (known := self._same_person(key[1])):
            self._names[key] = known
        if key not in self._names:
            drawn = self._pseudonym(*key) if pseudonyms and self.modes[found.kind] == "pseudonym" else None
            self._names[key] = drawn or self._placeholder(found.kind)
            self._taken.add(self._names[key])
        return self._names[key]

    def _same_person(self, value: str) -> str | None:
        """Return the name of the one person known here of whose names this is a part, such as the first name alone."""
        words = set(value.split())
        near = {name for (kind, known), name in self._names.items() if kind == "person" and words <= set(known.split())}
        return near.pop() if len(near) == 1 else None

    def _pseudonym(self, kind: str, value: str) -> str | None:
        if self.pseudonyms is None:
            raise ValueError(f"kind '{kind}' is to have pseudonyms, and no key was given.")
        drawn = (self.pseudonyms.draw(kind, value, i) for i in range(MAX_DRAWS))
        return next((name for name in drawn if name not in self._taken), None)

    def _placeholder(self, kind: str) -> str:
        number = 1
        while (name := f"[{kind.upper()}_{number}]") in self._taken:
            number += 1
        return name


def canonical(kind: str, value: str) -> str:
    """Return a value as it compares: without the blanks and dashes that people write numbers with."""
    value = fold(value)
    if kind in ("phone", "card", "iban", "ssn", "national_id"):
        return re.sub(r"[^0-9A-Za-z+]", "", value).upper()
    return value.casefold() if kind in ("email", "ipv6", "person", "place", "organisation") else value
