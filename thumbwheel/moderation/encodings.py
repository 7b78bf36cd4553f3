"""What pieces of a text say that is written in an encoding a model may read: base64, codes of characters, escapes."""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}={0,2}")
BASE32 = re.compile(r"(?<![A-Z0-9])[A-Z2-7]{24,}={0,6}(?![A-Za-z0-9])")
BROKEN = re.compile(r"(?<=[A-Za-z0-9+/_-]{8})[^\S\n]*\n\s*(?=[A-Za-z0-9+/_=-]{2})")
"""The end of a line within base64."""
HEX = re.compile(r"(?<![0-9a-zA-Z])(?:(?:0x|\\x)?[0-9a-fA-F]{2}[ ,:]{0,2}){8,}(?![0-9a-zA-Z])")
BINARY = re.compile(r"(?<!\d)(?:[01]{8}[ ,]{0,2}){8,}(?!\d)")
CODES = re.compile(r"(?<!\d)(?:\d{2,3}[ ,]{1,2}){7,}\d{2,3}(?!\d)")
"""Codes of characters in decimal: `105 103 110 …`."""
ESCAPED = re.compile(r"%[0-9a-fA-F]{2}")
ENTITY = re.compile(r"&#?\w+;")
ENDLESS = re.compile(r"(?<=&#)[0-9]{20,}")
"""Digits of no letter's code; Python makes no number of more than 4300."""
UNICODE = re.compile(r"\\u(?:\{([0-9a-fA-F]{1,5})\}|([0-9a-fA-F]{4}))")
TAGS = re.compile(r"[\U000e0020-\U000e007e]+")
"""Letters of a block that shows nothing, and that models read."""
TURNED = re.compile(r"[\u202d\u202e\u2067]")
"""Marks behind which a text is shown from its end."""
DIGITS = re.compile(r"\d.*\d", re.DOTALL)
"""What all encodings but base64 hold."""
MAX_DECODED = 4000
"""Characters of one decoded piece that are read."""
PIECES = 32
"""Pieces of a text that are decoded; more of them say nothing together."""


def decoded(text: str) -> Iterator[str]:
    """Yield what pieces of a text say, if it can be read; what base64 says is looked at once more."""
    for piece in _from_digits(text):
        yield piece
        yield from _from_digits(piece)
    if ESCAPED.search(text):
        yield unquote(text)[:MAX_DECODED]
    if ENTITY.search(text):
        yield html.unescape(ENDLESS.sub("", text))[:MAX_DECODED]
    if UNICODE.search(text):
        yield _without_halves(UNICODE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)[:MAX_DECODED])
    if TAGS.search(text):
        yield "".join(chr(ord(letter) - 0xE0000) for run in TAGS.findall(text) for letter in run)[:MAX_DECODED]
    if "rot" in text.casefold():
        yield codecs.decode(text[:MAX_DECODED], "rot13")
    if TURNED.search(text) or re.search(r"backward|revers", text, re.IGNORECASE):
        yield text[:MAX_DECODED][::-1]


def turned(text: str) -> list[str]:
    """Return what a text says if it is rot13, if it was written from its end, and if each of its words was."""
    return [codecs.decode(text, "rot13"), text[::-1], " ".join(word[::-1] for word in text.split())]


def _without_halves(text: str) -> str:
    """Return a text whose surrogate pairs are letters, and what is half of one is none."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


def _from_digits(text: str) -> Iterator[str]:
    joined = BROKEN.sub("", text)
    for pattern, read in READERS if DIGITS.search(joined) else READERS[:1]:
        for _, match in zip(range(PIECES), pattern.finditer(joined), strict=False):
            yield from _readable(_bytes_of(match.group(), read))


def _bytes_of(piece: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(piece)
    except (binascii.Error, ValueError):
        return b""


def _from_base64(piece: str) -> bytes:
    bare = piece.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(bare + "=" * (-len(bare) % 4))


def _from_base32(piece: str) -> bytes:
    bare = piece.rstrip("=")
    return base64.b32decode(bare + "=" * (-len(bare) % 8))


def _from_hex(piece: str) -> bytes:
    return bytes.fromhex(re.sub(r"0x|\\x|[ ,:]", "", piece))


def _from_codes(piece: str, base: int = 10) -> bytes:
    return bytes(int(code, base) for code in re.findall(r"\d{8}" if base == 2 else r"\d+", piece))


READERS: tuple[tuple[re.Pattern[str], Callable[[str], bytes]], ...] = (
    (BASE64, _from_base64),
    (BASE32, _from_base32),
    (HEX, _from_hex),
    (BINARY, lambda piece: _from_codes(piece, 2)),
    (CODES, _from_codes),
)


def _readable(data: bytes) -> Iterator[str]:
    """Yield what is text: valid UTF-8 of printable characters, with a blank or all letters."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:MAX_DECODED])  # the last letter may be cut in two
    except UnicodeDecodeError:
        return
    if len(text) >= 8 and all(c.isprintable() or c.isspace() for c in text):
        yield text
