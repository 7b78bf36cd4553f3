"""Find what has a form of its own: one pass over the bytes says which rules to run, and each confirms its own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from thumbwheel.pii import accounts, addresses, births, credentials, national_ids, phones
from thumbwheel.pii.folding import FOLDING, fold
from thumbwheel.pii.kinds import KINDS, NAME_KINDS, Finding, without_overlaps
from thumbwheel.pii.names import find_names
from thumbwheel.pii.prefilter import Prefilter, prefilter
from thumbwheel.pii.rules import Rule

RULES: tuple[Rule, ...] = (
    FOLDING,
    *sorted(
        (rule for module in (credentials, addresses, accounts, national_ids, births, phones) for rule in module.RULES),
        key=lambda rule: KINDS.index(rule.kind),
    ),
)
"""All rules, in the order in which one that overlaps another wins."""
REGIONS = (
    *("US", "CA", "GB", "IE", "AU", "NZ", "ZA", "IN", "SG", "HK", "PH", "KE", "NG"),
    *(
        "DE",
        "AT",
        "CH",
        "FR",
        "BE",
        "NL",
        "LU",
        "ES",
        "PT",
        "IT",
        "PL",
        "CZ",
        "SK",
        "HU",
        "SI",
        "HR",
        "RO",
        "BG",
        "GR",
        "CY",
    ),
    *("SE", "NO", "DK", "FI", "IS", "EE", "LV", "LT", "UA", "TR", "IL", "AE", "BR", "MX", "AR", "CL", "CO", "JP", "KR"),
)
"""Countries whose national telephone numbers are recognised when a number has no country code."""

NAMES = frozenset(NAME_KINDS)
PATTERNS = frozenset(KINDS)


def find(text: str, kinds: Iterable[str] = PATTERNS, regions: tuple[str, ...] = REGIONS) -> list[Finding]:
    """Return what is found, by position, without overlaps; of `kinds` those of `NAME_KINDS` load a language model."""
    wanted = frozenset(kinds)
    taken = find_by(_worth(), text, wanted, regions)
    return taken if wanted.isdisjoint(NAMES) else without_overlaps(taken, find_names(text, wanted))


@cache
def _worth() -> Prefilter:
    """Compile the rules' hints, once a process."""
    return prefilter(RULES)


def find_by(worth: Prefilter, text: str, kinds: frozenset[str], regions: tuple[str, ...]) -> list[Finding]:
    """Return what is found when `worth` says which of `RULES` to run."""
    numbers = worth(text)
    if not numbers:
        return []
    plain = text
    if RULES[numbers[0]] is FOLDING and next(FOLDING.find(text, ()), None):
        plain = fold(text)
        numbers = worth(plain)
    taken: list[Finding] = []
    for rule in map(RULES.__getitem__, numbers):
        if rule.kind in kinds:
            spans = rule.find(plain, regions)
            taken = without_overlaps(taken, (Finding(rule.kind, a, b, text[a:b]) for a, b in spans))
    return taken
