"""Telephone numbers, told from other numbers by how they are written, the words around them, and numbering plans.

Four kinds of evidence, the first that there is decides:

1. a country code (`+44`, `0044`): the number must have a possible length there;
2. a word beside it that speaks of telephones: any number of a possible length;
3. an area code in brackets, a leading 0 and groups, or the American 3-3-4 with dashes or dots;
4. groups as a country of `regions` writes them, and a number that its plan gives out.

Plans and ways of writing are those of Google's libphonenumber (the package `phonenumbers`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import lru_cache, partial

from thumbwheel.pii.births import DATE
from thumbwheel.pii.kinds import Spans
from thumbwheel.pii.rules import SEVEN_DIGITS, Rule
from thumbwheel.pii.writing import plans_written_like

NEAR = 40
"""Characters before a number in which words say what it is."""
BEHIND = 16
"""Characters after it."""
UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff"
)
"""Letters of scripts without blanks (Thai, Lao, Burmese, Khmer, Kana, Han, Hangul): a number may stand right behind."""
RUN = re.compile(
    rf"[(+0-9](?=(?:[^0-9A-Za-z]{{0,4}}[0-9]){{6}})(?<!(?:[^\W{UNSPACED}]|[$€£#/,-]).)(?<![0-9][.:=].)"
    r"(?:(?<=[0-9])|(?=\+?\(?[0-9]))\+?\(?[0-9]{0,14}\)?"
    r"(?:(?:[ .\-/]{1,2}|(?<=\))|(?=\())\(?[0-9]{1,12}\)?){0,7}"
    r"(?:[ ,;]{0,2}(?:x|ext\.?|extension)[ :.]{0,2}[0-9]{1,6})?"
    r"(?![A-Za-z0-9_]|[.,:/][0-9]|-[0-9]|[ ]?(?:%|EUR\b|€))",
    re.IGNORECASE | re.DOTALL,
)
"""Digits in groups, at most one of them with an extension behind it; may hold a year or a house number as well.

It begins with a character that it takes, and looks behind it after that: so `re` skips fast to where one may be."""
EXTENSION = re.compile(r"[ ,;]{0,2}(?:x|ext\.?|extension)[ :.]{0,2}[0-9]{1,6}$", re.IGNORECASE)
WORDS_BEFORE = re.compile(
    r"\b(?:(?:tele|cell|mobile|i)?phones?|tel(?:e(?:fon\w{0,4}|fax))?|call(?:s|ed|ing|back)?|ring|rang|dial(?:led|ing)?"
    r"|mobile|cell(?:ular)?|landline|fax|sms|text(?:s|ed|ing)?|whatsapp|signal|viber|reach(?:ed|able)?|contact|hotline"
    r"|helpline|(?:desk|office|home|work|direct)(?=\s*:)|pager|voicemail|answer(?:s|ed|ing)?|messages? to"
    r"|number|my registered|toll[- ]free"
    r"|handy(?:nummer)?|ruf(?:en|nummer)|durchwahl|t\Sl\Sphone|portable|m\S{1,2}vil|cellulare|celular|telefoon)\b",
    re.IGNORECASE | re.ASCII,
)
WORDS_ELSEWHERE = re.compile(
    r"(?:电话|電話|手机|手機|座机|热线|熱線|传真|傳真|携帯|ケータイ|전화|휴대폰|핸드폰|연락처|โทร|เบอร์|มือถือ"
    r"|[Тт]ел\b|[Тт]елефон|[Мм]обил|звони|هاتف|جوال|موبايل|تلفون|اتصل|फ़ोन|फ़ोन|फोन|मोबाइल|नंबर"
    r"|[Ττ]ηλ|[Κκ]ινητ|טלפון|נייד|[Đđ]iện thoại)[^0-9]{0,20}$"
)
"""The same beyond Latin letters; nearer, for there words are shorter."""
WORDS_BEHIND = re.compile(
    r"[\s)\],;:-]{0,3}(?:\(?(?:office|fax|mobile|cell|home|work|desk|tel|phone|landline|direct|handy|whatsapp)\b)",
    re.IGNORECASE | re.ASCII,
)
PRODUCT_WORDS = re.compile(
    r"\b(?:order|invoice|ticket|case|serial|part|model|article|item|tracking|parcel|ref(?:erence)?|sku|isbn|issn|doi"
    r"|account|routing|transaction|confirmation|booking|reservation|policy|licen[cs]e|vin|imei|version|build)"
    r"(?:\s+(?:no\.?|number|id|nr\.?|code|#))?[\s:#.]*(?:is\s+)?$",
    re.IGNORECASE | re.ASCII,
)
NO_PHONE = re.compile(
    rf"(?:{DATE}|[0-9]{{4}}[-/][0-9]{{4}}|[0-9]{{4}})(?: [0-9]{{1,2}})?|[0-9]+\.[0-9]+|[01 .-]+",
    re.IGNORECASE | re.ASCII,
)
"""Dates, with the hour behind them, spans of years, decimals, and bits."""
THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?: [0-9]{3})+|[1-9][0-9]{0,2}(?:\.[0-9]{3})+")
AMERICAN = re.compile(r"(?:1[-. ])?(?:\([2-9][0-9]{2}\)[-. ]?|[2-9][0-9]{2}[-.])[0-9]{3}[-. ][0-9]{4}")
BRACKETS = re.compile(r"\(0?[1-9][0-9]{0,4}\)[ -]?[0-9]")
LEADING_ZERO = re.compile(r"0[1-9][0-9]*[ .\-/]+[0-9]|0[1-9][0-9]{8,9}$")
GROUP = re.compile(r"[0-9]+")
BLANK = re.compile(r" +")


def phones(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield telephone numbers with their extensions."""
    for match in RUN.finditer(text):
        if sum(c.isdigit() for c in match.group()) < MIN_DIGITS:
            continue
        before = text[max(0, match.start() - NEAR) : match.start()]
        if PRODUCT_WORDS.search(before) or (before.endswith((":", "=")) and not _may_be_assigned(text, match)):
            continue
        if is_phone(match.group(), partial(_is_named, text, match), regions):
            yield match.span()
        elif part := _part(match.group(), regions):
            yield match.start() + part[0], match.start() + part[1]


def _is_named(text: str, match: re.Match[str]) -> bool:
    """Tell whether a word beside a number speaks of telephones."""
    start, end = match.span()
    if WORDS_BEFORE.search(text, max(0, start - NEAR), start) or WORDS_BEHIND.match(text, end, end + BEHIND):
        return True
    before = text[max(0, start - NEAR) : start]
    return not before.isascii() and WORDS_ELSEWHERE.search(before) is not None


def _may_be_assigned(text: str, match: re.Match[str]) -> bool:
    """Tell whether a number right behind a colon or an equals sign, as any value of a field, may be a telephone's."""
    return match.group()[0] in "+(" or AMERICAN.fullmatch(match.group()) is not None or _is_named(text, match)


MIN_DIGITS, MAX_DIGITS = 7, 15
"""Of a number, without its extension (ITU-T E.164)."""
MIN_LOCAL, MIN_UNNAMED = 8, 9
"""Of a number that no word speaks of: in a form of its own, and in any other."""


def is_phone(value: str, is_named: Callable[[], bool], regions: tuple[str, ...]) -> bool:
    """Tell whether a written number is a telephone number; `is_named` looks for words beside it that say so."""
    bare = EXTENSION.sub("", value)
    if AMERICAN.fullmatch(bare):
        return True
    digits = sum(c.isdigit() for c in bare)
    if not MIN_DIGITS <= digits <= MAX_DIGITS or NO_PHONE.fullmatch(bare):
        return False
    international = bare.startswith(("+", "(+")) or (bare.startswith("00") and digits > 9)
    if international and is_possible("+" + bare.lstrip("(+0")):
        return True
    groups = tuple(len(group) for group in GROUP.findall(bare))
    if is_named():
        return max(groups) >= 2 and not (len(groups) > 5 and max(groups) < 3)
    return not international and _is_written_like_one(bare, groups, digits, regions)


def _is_written_like_one(bare: str, groups: tuple[int, ...], digits: int, regions: tuple[str, ...]) -> bool:
    """Tell of a number that no word speaks of, and without a country code."""
    if _has_form(bare, digits, regions):
        return True
    if len(groups) < 3 or digits < MIN_UNNAMED or THOUSANDS.fullmatch(bare):
        return False
    return any(is_valid(bare, region) for region in plans_written_like(groups, regions))


def _has_form(bare: str, digits: int, regions: tuple[str, ...]) -> bool:
    """Tell whether a number is written as only telephone numbers are: American, area code in brackets, leading 0."""
    if AMERICAN.fullmatch(bare):
        return True
    local = BRACKETS.match(bare) or LEADING_ZERO.match(bare)
    return bool(local) and MIN_LOCAL <= digits <= 12 and any(is_valid(bare, region) for region in regions)


def _part(value: str, regions: tuple[str, ...]) -> tuple[int, int] | None:
    """Return where a number with a form of its own stands among other digits, such as a year or a house number."""
    blanks = [m.span() for m in BLANK.finditer(EXTENSION.sub("", value))]
    starts, ends = [0, *(b for _, b in blanks)], [*(a for a, _ in blanks), len(value)]
    for start, end in sorted(itertools.product(starts, ends), key=lambda s: (s[0] - s[1], s[0])):
        bare = EXTENSION.sub("", value[start:end])
        digits = sum(c.isdigit() for c in bare)
        if MIN_LOCAL <= digits <= MAX_DIGITS and not NO_PHONE.fullmatch(bare) and _has_form(bare, digits, regions):
            return start, end
    return None


@lru_cache(maxsize=4096)
def is_possible(value: str) -> bool:
    """Tell whether a number with its country code has a length that the country's numbers have."""
    import phonenumbers

    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(value, None))
    except phonenumbers.NumberParseException:
        return False


@lru_cache(maxsize=16384)
def is_valid(value: str, region: str) -> bool:
    """Tell whether the plan of a region gives out a national number."""
    import phonenumbers

    try:
        return phonenumbers.is_valid_number_for_region(phonenumbers.parse(value, region), region)
    except phonenumbers.NumberParseException:
        return False


RULES = (Rule("phone", phones, (SEVEN_DIGITS,)),)
