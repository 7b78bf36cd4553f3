"""Dates of birth: a date with words before it that say so."""

from __future__ import annotations

import re

from thumbwheel.pii.kinds import Spans
from thumbwheel.pii.rules import Rule, caseless

MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,8}\.?"
DATE = (
    rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\s?\d{{1,2}}[-/.]\s?(?:\d{{4}}|\d{{2}})\b"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\s{{1,3}}(?:of\s{{1,3}})?{MONTH},?\s{{1,3}}\d{{4}}"
    rf"|{MONTH}\s{{1,3}}\d{{1,2}}(?:st|nd|rd|th)?,?\s{{1,3}}\d{{4}}"
)
BORN = (
    r"d\.?o\.?b\.?|date of birth|birth ?date|birth ?day|geburts(?:datum|tag)|geboren am|date de naissance|n[éÉ]e? le"
    r"|fecha de nacimiento|nac(?:id[oa]|[íÍ]) el|data di nascita|nat[oa] il|geboortedatum"
    r"|data de nascimento|data urodzenia"
)
OURS = r"(?:i(?: was|'m| am)?|we were|(?:my|our)(?: \w{1,30}){1,3}),? (?:was |were |is )?born|(?:^|and )born|ich bin"
"""`born` counts of the writer and theirs alone: texts about public figures are full of it."""
BIRTH = re.compile(
    rf"(?:\b(?:{BORN}|{OURS})\b|\bd\.o\.b\.)[^.!?\n\d]{{0,30}}?({DATE})", re.IGNORECASE | re.MULTILINE | re.ASCII
)

HINT = (
    r"d\.?o\.?b|birth|born|geburt|geboren|geboorte|naissance|n(?:é|É)e? le|nacimiento|nac(?:id[oa]|í|Í) el|nascita"
    r"|nat[oa] il|nascimento|urodzenia|ich bin"
)
NEAR = re.compile(rf"[dbgnuiDBGNUI](?<=(?=(?i:{HINT})).)", re.ASCII)
"""Where to look; it begins with the letters that its words begin with, so that `re` skips fast to them."""
BEFORE, BEHIND = 120, 120
"""Characters around such a word that a match may reach."""
WORDS = (
    r"(?:d\.?o\.?b|of birth|birth ?da|geburts|geboren am|geboortedatum|naissance|n(?:é|É)e? le|nacimiento"
    r"|nac(?:id[oa]|í|Í) el|di nascita|nat[oa] il|nascimento|urodzenia|ich bin|and born|^born|\nborn"
    r"|\b(?:i|my|our|we)\b[^.\n]{0,110}born)[^!?\n]{0,140}[0-9]"
)


def births(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield dates of birth."""
    reached = 0
    for word in NEAR.finditer(text):
        if word.start() >= reached:
            for match in BIRTH.finditer(text, max(reached, word.start() - BEFORE), word.end() + BEHIND):
                yield match.span(1)
                reached = match.end()


RULES = (Rule("date_of_birth", births, (caseless(HINT),), (caseless(WORDS),)),)
