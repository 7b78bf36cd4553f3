"""Personal data in what is asked and answered, by the detector that scrubs training data."""

from __future__ import annotations

import re
from collections.abc import Sequence

from serving.guard.options import PersonalOptions
from thumbwheel.pii import Finding, Mode, Redactor, find
from thumbwheel.pii.redact import PLACEHOLDER


class Personal:
    """Finds the kinds that the options name, but for values that they allow."""

    def __init__(self, options: PersonalOptions) -> None:
        self.options = options
        self._allow = tuple(re.compile(expression, re.IGNORECASE) for expression in options.allow)

    def find(self, text: str) -> list[Finding]:
        """Return the findings by position; neither allowed values nor our own placeholders are among them."""
        found = find(text, self.options.kinds, self.options.regions)
        return [each for each in found if not self._passes(each.value)]

    def redacted(self, texts: Sequence[str]) -> tuple[list[str], dict[str, int]]:
        """Return a conversation's texts with placeholders, one value having one name, and how many of each kind."""
        modes: dict[str, Mode] = dict.fromkeys(self.options.kinds, "placeholder")
        redactor = Redactor(modes, self.options.regions, self._allow)
        return redactor.redact_all(texts), redactor.counts

    def _passes(self, value: str) -> bool:
        is_name = PLACEHOLDER.fullmatch(value) is not None
        return is_name or any(pattern.fullmatch(value) for pattern in self._allow)
