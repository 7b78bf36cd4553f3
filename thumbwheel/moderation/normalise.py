"""One spelling for texts that mean the same to a reader: width, accents, invisible characters, look-alikes, encodings.

Width and compatibility forms are folded by NFKD (Unicode Standard Annex 15); look-alikes are letters of Cyrillic,
Greek, Armenian and others that are drawn like Latin ones (after Unicode Technical Standard 39).
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote

PAIRS = (
    "аa еe оo рp сc уy хx іi јj ѕs һh ԁd ԛq ԝw вb мm нh тt кk ӏl зz "  # Cyrillic
    "οo αa νv εe ρp τt υu κk ιi χx ζz βb ηn ωw γy μu "  # Greek
    "սu ոn օo հh ցg ӏl ɑa ɡg ıi øo đd ħh łl ʟl ɪi ɴn ʀr ʏy ꜱs ᴀa ᴄc ᴅd ᴇe ᴊj ᴋk ᴍm ᴏo ᴘp ᴛt ᴜu ᴠv ᴡw ᴢz"
)
LOOK_ALIKES = {pair[0]: pair[1] for pair in PAIRS.split()}
LEET = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "|": "l"}
)

LEET_WORD = re.compile(r"(?<!\S)(?=\S*[a-z])(?=\S*[0-9@$!|])[a-z0-9@$!|]{2,23}[a-z0-9@$](?=[.,;:?!]*(?:\s|$))")
"""Letters with digits or signs among them: `1gn0re`."""
SPACED = re.compile(r"(?<!\w)\w(?:[ .·_*-]{1,2}\w){4,}(?!\w)")
"""`i g n o r e`, `i-g-n-o-r-e`."""
WIDE_GAP = re.compile(r"\s{2,}|[ .·_*-]{2}")
BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}={0,2}")
HEX = re.compile(r"\b(?:[0-9a-fA-F]{2}[ :]?){8,}\b")
ESCAPED = re.compile(r"%[0-9a-fA-F]{2}")
UNSEEN = dict.fromkeys(code for code in (*range(32), 127) if not chr(code).isspace())
"""ASCII's control characters."""
MAX_DECODED = 4000
"""Characters of one decoded piece that are read."""


@lru_cache(maxsize=8192)
def fold_character(character: str) -> str:
    """Return a character as it compares; empty for marks and what cannot be seen."""
    folded = "".join(
        LOOK_ALIKES.get(c, c)
        for c in unicodedata.normalize("NFKD", character).casefold()
        if unicodedata.category(c) not in ("Mn", "Me", "Cf", "Cc", "Cn", "Co") or c in "\n\t"
    )
    return " " if folded.isspace() else folded


def fold(text: str) -> str:
    """Return a text as it compares, blanks run together; folding it again changes nothing."""
    folded = text.translate(UNSEEN).casefold() if text.isascii() else "".join(map(fold_character, text))
    return " ".join(folded.split())


def views(text: str) -> list[str]:
    """Return the folded text and, where they differ, its readings without tricks of spelling, and what it encodes."""
    plain = fold(text)
    readings = [plain, unleet(plain), unspace(text), *(fold(piece) for piece in decoded(text))]
    return list(dict.fromkeys(filter(None, readings)))


def unleet(folded: str) -> str:
    """Return a folded text whose words with digits among their letters are read as letters."""
    return LEET_WORD.sub(lambda match: match.group().translate(LEET), folded)


def unspace(text: str) -> str:
    """Return the folded text with words that were spelt out joined; a wider gap stands between two words."""
    joined = SPACED.sub(lambda match: " ".join(map(_joined, WIDE_GAP.split(match.group()))), text)
    return fold(joined)


def decoded(text: str) -> Iterator[str]:
    """Yield what pieces of a text say in base64, hexadecimal, percent escapes, backwards and by rot13, if readable."""
    for match in BASE64.finditer(text):
        yield from _readable(_from_base64(match.group()))
    for match in HEX.finditer(text):
        yield from _readable(bytes.fromhex(re.sub(r"[ :]", "", match.group())))
    if ESCAPED.search(text):
        yield unquote(text)[:MAX_DECODED]
    if "rot" in text.casefold():
        yield codecs.decode(text[:MAX_DECODED], "rot13")
    if re.search(r"backward|revers", text, re.IGNORECASE):
        yield text[:MAX_DECODED][::-1]


def _joined(letters: str) -> str:
    return re.sub(r"[ .·_*-]", "", letters)


def _from_base64(piece: str) -> bytes:
    try:
        bare = piece.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return b""


def _readable(data: bytes) -> Iterator[str]:
    """Yield what is text: valid UTF-8 of printable characters, with a blank or all letters."""
    try:
        text = data[:MAX_DECODED].decode()
    except UnicodeDecodeError:
        return
    if len(text) >= 8 and all(c.isprintable() or c.isspace() for c in text):
        yield text
