"""National identity, tax and insurance numbers: each by its form, its check digits, or the words before it.

A number whose form and check leave little to chance stands for itself; any other needs a word that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from thumbwheel.pii import national_checks as check
from thumbwheel.pii.checksums import social_security
from thumbwheel.pii.kinds import Spans
from thumbwheel.pii.rules import SEVEN_DIGITS, Rule, caseless, is_named


@dataclass(frozen=True)
class NationalId:
    """`is_right` gets the value in capitals without blanks, dots, dashes and plus signs; `words` is None where none
    are needed."""

    name: str
    form: str
    is_right: Callable[[str], bool]
    words: str | None = None
    hint: bytes = SEVEN_DIGITS

    def rule(self) -> Rule:
        """Return the rule that finds these numbers; the form is its own hint."""
        pattern = re.compile(rf"(?<![\w.+-])(?:{self.form})(?![\w+]|[.-]\w)", re.ASCII | re.IGNORECASE)
        words = re.compile(rf"\b(?:{self.words})\b", re.ASCII | re.IGNORECASE) if self.words else None

        def find(text: str, regions: tuple[str, ...]) -> Spans:
            for match in pattern.finditer(text):
                named = words is None or is_named(words, text, match.start())
                if named and self.is_right(re.sub(r"[ .+-]", "", match.group()).upper()):
                    yield match.span()

        return Rule("national_id", find, (self.hint,), (caseless(rf"\b(?:{self.words})\b"),) if self.words else ())


NINO = r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
IDS = (
    NationalId(
        "UK NINO",
        rf"{NINO} [0-9]{{2}} [0-9]{{2}} [0-9]{{2}} [A-D]",
        check.nino,
        hint=rb" [0-9]{2} [0-9]{2} [0-9]{2} [A-Da-d]",
    ),
    NationalId(
        "UK NINO",
        rf"{NINO}[0-9]{{6}}[A-D]",
        check.nino,
        r"national insurance|nino|ni(?: n(?:o|umber))?",
        rb"[A-Za-z][0-9]{6}[A-Da-d]",
    ),
    NationalId("ES DNI", r"(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-Z]", check.dni, hint=rb"[0-9]{7}-?[A-Za-z]"),
    NationalId(
        "FR NIR",
        r"[12] [0-9]{2} (?:0[1-9]|1[0-2]|[2-9][0-9]) (?:[0-9]{2}|2[AB]) [0-9]{3} [0-9]{3} [0-9]{2}"
        r"|[12][0-9]{2}(?:0[1-9]|1[0-2]|[2-9][0-9])(?:[0-9]{2}|2[AB])[0-9]{6} ?[0-9]{2}",
        check.nir,
        hint=rb"[0-9]{3} [0-9]{3} [0-9]{2}|[0-9]{6}[0-9ABab][0-9]{6}",
    ),
    NationalId(
        "IT codice fiscale",
        r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]",
        check.codice_fiscale,
        hint=rb"[0-9]{2}[A-Za-z][0-9]{2}[A-Za-z][0-9]{3}",
    ),
    NationalId(
        "DE Steuer-ID",
        r"[1-9][0-9](?: ?[0-9]{3}){3}",
        check.steuer_id,
        r"steuer-?id\w*|steuer(?:liche )?identifikationsnummer|steuernummer|idnr|tax (?:id|number)|tin",
    ),
    NationalId(
        "NL BSN", r"[0-9]{3}[ .]?[0-9]{2}[ .]?[0-9]{4}|[0-9]{8,9}", check.bsn, r"bsn|burgerservicenummer|sofi-?nummer"
    ),
    NationalId(
        "IN Aadhaar",
        r"[2-9][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}",
        check.verhoeff,
        hint=rb"[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}",
    ),
    NationalId("IN Aadhaar", r"[2-9][0-9]{11}", check.verhoeff, r"aadha?ar|uidai|uid"),
    NationalId(
        "IN PAN",
        r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]",
        check.anything,
        r"pan|permanent account|income tax",
        rb"[A-Za-z][0-9]{4}[A-Za-z]",
    ),
    NationalId("PL PESEL", r"[0-9]{11}", check.pesel, r"pesel"),
    NationalId("SE personnummer", r"(?:19|20)?[0-9]{6}[-+][0-9]{4}", check.personnummer, hint=rb"[0-9]{6}[-+][0-9]{4}"),
    NationalId("FI HETU", r"[0-9]{6}[-+A-F][0-9]{3}[0-9A-Y]", check.hetu, hint=rb"[0-9]{6}[-+A-Fa-f][0-9]{3}"),
    NationalId("DK CPR", r"[0-9]{6}[- ]?[0-9]{4}", check.cpr, r"cpr(?:-?(?:nr|nummer))?|personnummer"),
    NationalId(
        "NO fødselsnummer", r"[0-9]{6} ?[0-9]{5}", check.foedselsnummer, r"f(?:ø|oe|o)dselsnummer|fnr|personnummer"
    ),
    NationalId(
        "BE rijksregister",
        r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}",
        check.rijksregister,
        hint=rb"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-",
    ),
    NationalId("BR CPF", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", check.cpf, hint=rb"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-"),
    NationalId("BR CPF", r"[0-9]{11}", check.cpf, r"cpf"),
    NationalId("PT NIF", r"[1-9][0-9]{2} ?[0-9]{3} ?[0-9]{3}", check.nif, r"nif|contribuinte|n(?:ú|u)mero fiscal"),
    NationalId("CA SIN", r"[1-9][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}", check.luhn_digits, r"sin|social insurance"),
    NationalId("AU TFN", r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", check.tfn, r"tfn|tax file"),
    NationalId(
        "CN resident identity", r"[1-9][0-9]{5}(?:19|20)[0-9]{9}[0-9X]", check.resident_id, hint=rb"[0-9]{17}[0-9Xx]"
    ),
    NationalId("KR RRN", r"[0-9]{6}-[1-8][0-9]{6}", check.rrn, hint=rb"[0-9]{6}-[0-9]{7}"),
    NationalId(
        "ZA identity",
        r"[0-9]{6} ?[0-9]{4} ?[0-9]{3}",
        check.south_african,
        r"id(?:entity)?(?: (?:no|number|document))?",
    ),
)
SSN = re.compile(r"(?<![\w-])([0-9]{3})([- .])([0-9]{2})\2([0-9]{4})(?![\w-])", re.ASCII)
SSN_WORDS = re.compile(r"\b(?:ssn|social(?: security)?|itin|tax(?:payer)? id)\b", re.IGNORECASE | re.ASCII)


BARE_SSN = re.compile(r"(?<![\w-])([0-9]{3})([0-9]{2})([0-9]{4})(?![\w-])", re.ASCII)
BARE_SSN_NAMES = r"\b(?:ssn|social security|taxpayer id)\b"
BARE_SSN_WORDS = re.compile(BARE_SSN_NAMES, re.IGNORECASE | re.ASCII)


def bare_social_security_numbers(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield those without dashes, which must be named and possible."""
    for match in BARE_SSN.finditer(text):
        if is_named(BARE_SSN_WORDS, text, match.start()) and social_security(*match.groups()):
            yield match.span()


def social_security_numbers(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield US social security and taxpayer numbers: written with dashes and possible, or named."""
    for match in SSN.finditer(text):
        area, separator, group, serial = match.groups()
        named = is_named(SSN_WORDS, text, match.start())
        if named or (separator == "-" and social_security(area, group, serial)):
            yield match.span()


RULES = (
    Rule("ssn", social_security_numbers, (rb"[0-9]{3}[- .][0-9]{2}[- .][0-9]{4}",)),
    Rule("ssn", bare_social_security_numbers, (rb"[0-9]{9}",), (caseless(BARE_SSN_NAMES),)),
    *(each.rule() for each in IDS),
)
