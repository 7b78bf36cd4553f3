"""Check digits of cards, accounts and crypto addresses, each by its standard."""

from __future__ import annotations

import hashlib
import re

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
BECH32_CONSTANTS = (1, 0x2BC830A3)

CARD_PREFIXES: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4000, 4999, (13, 16, 19)),  # Visa
    (5100, 5599, (16,)),  # Mastercard
    (2221, 2720, (16,)),
    (3400, 3499, (15,)),  # American Express
    (3700, 3799, (15,)),
    (3000, 3059, (14, 16)),  # Diners Club
    (3600, 3699, (14, 16, 19)),
    (3800, 3999, (14, 16, 19)),
    (3500, 3599, (16, 17, 18, 19)),  # JCB
    (1800, 1800, (15,)),
    (2131, 2131, (15,)),
    (2200, 2204, (16, 17, 18, 19)),  # Mir
    (8100, 8299, (16,)),  # UnionPay and RuPay
    (5000, 5099, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro, Verve
    (5600, 5899, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (6000, 6999, (12, 13, 14, 15, 16, 17, 18, 19)),  # Discover, UnionPay, Maestro, RuPay
    (604, 604, (12,)),  # Maestro of old
)
"""First four digits, from and to, and the lengths that an issuer of them gives out (ISO/IEC 7812)."""

IBAN_LENGTHS = {
    code: length
    for length, codes in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for code in codes.split()
}
"""Length by country, of the SWIFT registry of ISO 13616."""


def luhn(number: str) -> bool:
    """Tell whether a card number's check digit is right (ISO/IEC 7812-1); blanks and dashes do not count."""
    digits = [int(c) for c in reversed(number) if c.isdigit()]
    if not 12 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    return luhn_sum(digits) % 10 == 0


def luhn_sum(reversed_digits: list[int]) -> int:
    """Return the sum of digits, the check digit first, in which every second counts twice."""
    doubled = [d * 2 - 9 * (d > 4) for d in reversed_digits[1::2]]
    return sum(reversed_digits[::2]) + sum(doubled)


def card(number: str) -> bool:
    """Tell whether a number is one that a card network gives out: prefix, length and check digit."""
    bare = re.sub(r"\D", "", number)
    prefix = int(bare[:4] or 0)
    known = any(low <= prefix <= high and len(bare) in lengths for low, high, lengths in CARD_PREFIXES)
    return known and luhn(bare)


def iban(number: str) -> bool:
    """Tell whether an IBAN's country, length and check digits are right (ISO 13616, mod 97)."""
    bare = re.sub(r"[ -]", "", number).upper()
    if len(bare) != IBAN_LENGTHS.get(bare[:2]) or not bare.isascii() or not bare.isalnum():
        return False
    return mod97(bare[4:] + bare[:4]) == 1


def mod97(text: str) -> int:
    """Return the remainder of a text of digits and letters (A is 10) by 97 (ISO 7064)."""
    return int("".join(str(int(c, 36)) for c in text)) % 97


def base58check(address: str) -> bool:
    """Tell whether a Bitcoin address of the old kind has the right checksum."""
    number = 0
    for c in address:
        number = number * 58 + BASE58.index(c)
    try:
        data = number.to_bytes(25, "big")
    except OverflowError:
        return False
    return hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4] == data[21:]


def bech32(address: str) -> bool:
    """Tell whether a segregated-witness address has the right checksum (BIP 173 and 350)."""
    prefix, _, data = address.lower().rpartition("1")
    return bech32_remainder(prefix, [BECH32.index(c) for c in data]) in BECH32_CONSTANTS


def bech32_remainder(prefix: str, data: list[int]) -> int:
    """Return the remainder of an address's polynomial: of a right one, a constant of `BECH32_CONSTANTS`."""
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + data
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, constant in enumerate(BECH32_GENERATOR):
            check ^= constant if (top >> i) & 1 else 0
    return check


def social_security(area: str, group: str, serial: str) -> bool:
    """Tell whether a US social security number could have been given out."""
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
