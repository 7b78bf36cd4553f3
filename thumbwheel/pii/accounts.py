"""Bank accounts, payment cards and crypto addresses, each held to its checksum."""

from __future__ import annotations

import re
from collections.abc import Iterator

from thumbwheel.pii.checksums import base58check, bech32, card, iban
from thumbwheel.pii.kinds import Spans
from thumbwheel.pii.rules import Rule, caseless, matches

IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b", re.ASCII | re.IGNORECASE)
CARD = re.compile(r"(?<![\w.,+-])[0-68][0-9]{3}(?:[ -]?[0-9]){8,15}(?:[ -][0-9]{1,4})?(?!\w|-\w)", re.ASCII)
"""May run on into the security code or the date behind the number."""
BITCOIN = re.compile(
    r"\b(?:[13][a-km-zA-HJ-NP-Z1-9]{25,34}|(?:bc|tb)1[ac-hj-np-z02-9]{11,87}|BC1[AC-HJ-NP-Z02-9]{11,87})\b", re.ASCII
)
ETHEREUM = re.compile(r"\b0x[0-9a-fA-F]{40}\b", re.ASCII)


def ibans(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield IBANs in print or electronic form; a word may follow."""
    for match in IBAN.finditer(text):
        for end in _ends(match.group()):
            if iban(match.group()[:end]):
                yield match.start(), match.start() + end
                break


def cards(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield card numbers, in one piece or in groups."""
    for match in CARD.finditer(text):
        for end in _ends(match.group()):
            if card(match.group()[:end]):
                yield match.start(), match.start() + end
                break


def bitcoin_addresses(text: str, regions: tuple[str, ...]) -> Spans:
    """Yield Bitcoin addresses of either kind."""
    for match in BITCOIN.finditer(text):
        address = match.group()
        if bech32(address) if address[:2].lower() in ("bc", "tb") else base58check(address):
            yield match.span()


def _ends(value: str) -> Iterator[int]:
    """Ends of the value and of its beginnings at a blank or dash, longest first: something else may follow."""
    yield len(value)
    yield from sorted((m.start() for m in re.finditer(r"[ -]", value)), reverse=True)


RULES = (
    Rule("iban", ibans, (caseless(r"[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{4}[ -]?[A-Z0-9]{4}"),)),
    Rule("card", cards, (rb"[0-9]{4}(?:[ -]?[0-9]){8}",)),
    Rule("crypto", bitcoin_addresses, (rb"[13][a-km-zA-HJ-NP-Z1-9]{25}", caseless(r"(?:bc|tb)1[a-z0-9]{11}"))),
    Rule("crypto", matches(ETHEREUM), (rb"0x[0-9a-fA-F]{40}",)),
)
