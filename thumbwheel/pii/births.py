"""Dates of birth: a date with words before it that say so."""

from __future__ import annotations

import re

from thumbwheel.pii.kinds import Spans
from thumbwheel.pii.rules import Rule, caseless

MONTH = (
    r"(?:jan|ene|gen|feb|fe[vb]|f[éÉ]v|mar|m[äÄ]r|maa|apr|avr|abr|ma[ijygr]|mei|jun|jui|giu|jul|lug|aug|ao[uûÛ]|ago"
    r"|sep|set|oct|okt|out|ott|nov|dec|d[éÉ]c|dez|dic)[a-zéûç]{0,8}\.?"
)
"""By its first letters, in English, German, French, Spanish, Italian, Portuguese and Dutch."""
DATE = (
    rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\s?\d{{1,2}}[-/.]\s?(?:\d{{4}}|\d{{2}})\b"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|\.)?\s{{1,3}}(?:(?:of|de|di)\s{{1,3}})?{MONTH},?\s{{1,3}}(?:de\s{{1,3}})?\d{{4}}"
    rf"|{MONTH}\s{{1,3}}\d{{1,2}}(?:st|nd|rd|th)?,?\s{{1,3}}\d{{4}}"
    r"|\d{4} ?[年년] ?\d{1,2} ?[月월] ?\d{1,2} ?[日일]"
)
BORN = (
    r"d\.?o\.?b\.?|date of birth|birth ?date|birth ?day|geburts(?:datum|tag)|geboren am|date de naissance|n[éÉ]e? le"
    r"|fecha de nacimiento|nac(?:id[oa]|[íÍ]) el|data di nascita|nat[oa] il|geboortedatum"
    r"|data de nascimento|data urodzenia"
)
OURS = r"(?:i(?: was|'m| am)?|we were|(?:my|our)(?: \w{1,30}){1,3}),? (?:was |were |is )?born|(?:^|and )born|ich bin"
"""`born` counts of the writer and theirs alone: texts about public figures are full of it."""
UNSPACED = r"生年月日|出生日期|出生年月|出生于|生日|誕生日|생년월일"
"""Words of scripts in which they have no edges."""
BIRTH = re.compile(
    rf"(?:\b(?:{BORN}|{OURS})\b|\bd\.o\.b\.|{UNSPACED})[^.!?\n\d]{{0,30}}?({DATE})",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)

HINT = (
    r"d\.?o\.?b|birth|born|geburt|geboren|geboorte|naissance|n(?:é|É)e? le|nacimiento|nac(?:id[oa]|í|Í) el|nascita"
    rf"|nat[oa] il|nascimento|urodzenia|ich bin|{UNSPACED}"
)
NEAR = re.compile(rf"[dbgnuiDBGNUI生出誕생](?<=(?=(?i:{HINT})).)", re.ASCII)
"""Where to look; it begins with the letters that its words begin with, so that `re` skips fast to them."""
BEFORE, BEHIND = 120, 120
"""Characters around such a word that a match may reach."""
WORDS = (
    r"(?:d\.?o\.?b|of birth|birth ?da|geburts|geboren am|geboortedatum|naissance|n(?:é|É)e? le|nacimiento"
    r"|nac(?:id[oa]|í|Í) el|di nascita|nat[oa] il|nascimento|urodzenia|ich bin|and born|^born|\nborn"
    rf"|\b(?:i|my|our|we)\b[^.\n]{{0,110}}born|{UNSPACED})[^!?\n]{{0,140}}[0-9]"
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
