"""Made-up values in place of real ones: of the same form, the same for the same value, and nobody's.

Every value comes from a range that is reserved, published for tests, or cannot belong to anybody alive, so that a
pseudonym never is another person's data, and is known again for a pseudonym. Which value stands for which is a keyed
hash over the conversation's id: without the key, nobody can try out numbers to see which one it was, and the same
person cannot be followed from one conversation to another.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable
from datetime import date, timedelta

from thumbwheel.pii.checksums import BECH32, bech32_remainder

FIRST = (
    *("Adira", "Bram", "Calla", "Dorin", "Elvi", "Fenno", "Gisla", "Hadric", "Ilva", "Jorun", "Kessa", "Lorcan"),
    *("Mirelle", "Nevan", "Orla", "Perrin", "Quilla", "Rasmin", "Sorrel", "Tavin", "Ulla", "Verrin", "Wenna", "Yorick"),
)
LAST = (
    *("Ashgrove", "Birkwell", "Cresset", "Dunmarrow", "Elderfen", "Farrowby", "Gorsewick", "Hartsmere", "Inglebeck"),
    *("Juniperly", "Kestrelby", "Larkspine", "Mosswater", "Nettlecombe", "Oakhallow", "Pinmarsh", "Quarrington"),
    *("Rushbrick", "Sedgewater", "Thistlemoor", "Umberly", "Vennmoor", "Willowmark", "Yarrowdell"),
)
"""Names that nobody is known by."""
CARDS = (
    *("4111111111111111", "4242424242424242", "4012888888881881", "4000056655665556", "5555555555554444"),
    *("5105105105105100", "5200828282828210", "2223003122003222", "378282246310005", "371449635398431"),
    *("6011111111111117", "6011000990139424", "30569309025904", "38520000023237", "3530111333300000"),
    *("3566002020360505", "6200000000000005"),
)
"""Numbers that payment networks publish for tests."""
IBANS = (
    *("GB29NWBK60161331926819", "DE89370400440532013000", "FR1420041010050500013M02606", "NL91ABNA0417164300"),
    *("ES9121000418450200051332", "IT60X0542811101000000123456", "BE68539007547034", "CH9300762011623852957"),
    *(
        "AT611904300234573201",
        "SE4550000000058398257466",
        "NO9386011117947",
        "DK5000400440116243",
        "FI2112345600000785",
    ),
    *("PL61109010140000071219812874", "PT50000201231234567890154", "IE29AIBK93115212345678", "LU280019400644750000"),
    *("CZ6508000000192000145399", "GR1601101250000000012300695", "HU42117730161111101800000000"),
)
"""The examples of the SWIFT registry."""
AREAS = (201, 202, 212, 213, 303, 305, 312, 404, 415, 503, 512, 602, 617, 702, 713, 802, 808, 907)
"""Area codes of the United States; in each of them 555-0100 to 555-0199 are kept for fiction."""
EPOCH = date(1850, 1, 1)
DAYS = 50 * 365
"""Nobody alive was born in these days."""


class Pseudonyms:
    """Draws pseudonyms for the values of one conversation."""

    def __init__(self, key: bytes, conversation: str) -> None:
        self._key, self._conversation = key, conversation

    def draw(self, kind: str, value: str, attempt: int = 0) -> str:
        """Return the pseudonym of a value in its canonical form; each attempt draws another."""
        said = "\x1f".join((self._conversation, kind, value, str(attempt))).encode("utf-8", "surrogatepass")
        number = int.from_bytes(hmac.new(self._key, said, hashlib.sha256).digest())
        if kind == "crypto" and value.startswith("0x"):
            return f"0x{number % 16**16:040x}"
        return DRAW[kind](number)


def is_reserved(kind: str, value: str) -> bool:
    """Tell whether a value is of the range that pseudonyms of its kind are drawn from."""
    if kind in ("card", "iban"):
        return re.sub(r"[ -]", "", value).upper() in {"card": CARDS, "iban": IBANS}[kind]
    return RESERVED[kind].fullmatch(value) is not None


def key_name(key: bytes) -> str:
    """Return eight hex digits by which a key is known again, and that say nothing of it."""
    return hmac.new(key, b"thumbwheel pseudonym key", hashlib.sha256).hexdigest()[:8]


def _pick(number: int, *choices: tuple[str, ...] | tuple[int, ...] | range) -> list[str]:
    picked = []
    for choice in choices:
        number, i = divmod(number, len(choice))
        picked.append(str(choice[i]))
    return picked


def _email(number: int) -> str:
    first, last, top, digits = _pick(number, FIRST, LAST, ("com", "net", "org"), range(10, 100))
    return f"{first}.{last}{digits}@example.{top}".lower()


def _phone(number: int) -> str:
    area, line = _pick(number, AREAS, range(100, 200))
    return f"+1 {area}-555-0{line}"


def _ssn(number: int) -> str:
    area, group, serial = _pick(number, range(900, 1000), range(10, 50), range(1000, 10000))
    return f"{area}-{group}-{serial}"


def _national_id(number: int) -> str:
    return f"QQ{number % 10**6:06}{'ABCD'[number // 10**6 % 4]}"


def _birth(number: int) -> str:
    return (EPOCH + timedelta(days=number % DAYS)).isoformat()


def _ipv4(number: int) -> str:
    network, host = _pick(number, ("192.0.2", "198.51.100", "203.0.113"), range(1, 255))
    return f"{network}.{host}"


def _ipv6(number: int) -> str:
    return str(ipaddress.IPv6Address((0x20010DB8 << 96) | (number % 2**64) | 1 << 63))


def _crypto(number: int) -> str:
    """Return an address of Bitcoin's test network, where coins are worth nothing (BIP 173)."""
    data = [0, *(number >> 5 * i & 31 for i in range(32))]
    check = bech32_remainder("tb", [*data, 0, 0, 0, 0, 0, 0]) ^ 1
    return "tb1" + "".join(BECH32[c] for c in (*data, *(check >> 5 * (5 - i) & 31 for i in range(6))))


DRAW: dict[str, Callable[[int], str]] = {
    "url_secret": lambda number: f"https://example.com/{number % 16**12:012x}",
    "api_key": lambda number: f"example-key-{number % 16**12:012x}",
    "email": _email,
    "iban": lambda number: _pick(number, IBANS)[0],
    "card": lambda number: _pick(number, CARDS)[0],
    "crypto": _crypto,
    "ipv6": _ipv6,
    "ipv4": _ipv4,
    "ssn": _ssn,
    "national_id": _national_id,
    "date_of_birth": _birth,
    "phone": _phone,
    "person": lambda number: " ".join(_pick(number, FIRST, LAST)),
    "place": lambda number: " ".join(_pick(number, LAST, ("Bay", "Hill", "Ford", "Green", "Cross"))),
    "organisation": lambda number: " ".join(_pick(number, LAST, ("Works", "Partners", "Trading", "Company"))),
}
RESERVED: dict[str, re.Pattern[str]] = {
    "url_secret": re.compile(r"https://example\.com/[0-9a-f]{12}"),
    "api_key": re.compile(r"example-key-[0-9a-f]{12}"),
    "email": re.compile(rf"(?:{'|'.join(FIRST)})\.(?:{'|'.join(LAST)})\d\d@example\.(?:com|net|org)", re.IGNORECASE),
    "crypto": re.compile(r"tb1q[a-z0-9]{38}|0x0{24}[0-9a-f]{16}"),
    "ipv6": re.compile(r"2001:0?db8:[0-9a-f:]+", re.IGNORECASE),
    "ipv4": re.compile(r"(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}"),
    "ssn": re.compile(r"9\d\d-[0-4]\d-\d{4}"),
    "national_id": re.compile(r"QQ\d{6}[A-D]"),
    "date_of_birth": re.compile(r"18[5-9]\d-\d\d-\d\d"),
    "phone": re.compile(r"\+1 [2-9]\d\d-555-01\d\d"),
    "person": re.compile(rf"(?:{'|'.join(FIRST)})(?: (?:{'|'.join(LAST)}))?|{'|'.join(LAST)}"),
    "place": re.compile(rf"(?:{'|'.join(LAST)})(?: (?:Bay|Hill|Ford|Green|Cross))?"),
    "organisation": re.compile(rf"(?:{'|'.join(LAST)})(?: (?:Works|Partners|Trading|Company))?"),
}
