"""One spelling for texts that mean the same to a reader: width, accents, invisible characters, look-alikes, encodings.

Width and compatibility forms are folded by NFKD (Unicode Standard Annex 15); look-alikes are letters of Cyrillic,
Greek, Armenian and others that are drawn like Latin ones (after Unicode Technical Standard 39).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from math import gcd
from string import ascii_lowercase

from thumbwheel.moderation.encodings import decoded

PAIRS = (
    "аa еe оo рp сc уy хx іi јj ѕs һh ԁd ԛq ԝw вb мm нh тt кk ӏl зz "  # Cyrillic
    "οo αa νv εe ρp τt υu κk ιi χx ζz βb ηn ωw γy μu "  # Greek
    "սu ոn օo հh ցg ӏl ɑa ɡg ıi øo đd ħh łl ʟl ɪi ɴn ʀr ʏy ꜱs ᴀa ᴄc ᴅd ᴇe ᴊj ᴋk ᴍm ᴏo ᴘp ᴛt ᴜu ᴠv ᴡw ᴢz"
)
BOXED = (0x249C, 0x1F130, 0x1F150, 0x1F170, 0x1F1E6)
"""Where alphabets of letters in brackets, squares, discs and flags begin; NFKD makes no bare letters of them."""
LOOK_ALIKES = {pair[0]: pair[1] for pair in PAIRS.split()} | {
    chr(first + place): letter for first in BOXED for place, letter in enumerate(ascii_lowercase)
}
BLANK = "\u2800"
"""Braille without a dot."""
FILLERS = "\u115f\u1160\u3164\uffa0"
"""Letters by Unicode's word that show nothing."""
LEET = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "|": "l"}
)

LEET_WORD = re.compile(r"(?<!\S)(?=\S*[a-z])(?=\S*[0-9@$!|])[a-z0-9@$!|]{2,23}[a-z0-9@$](?=[.,;:?!]*(?:\s|$))")
"""Letters with digits or signs among them: `1gn0re`."""
LINKED = re.compile(r"(?<![^\W_])[^\W_]+(?:[_.~+/|-][^\W_]+){3,}(?![^\W_])")
"""Words with signs between them instead of blanks: `ignore_all_previous_instructions`."""
HUMPED = re.compile(r"(?<![^\W_])[A-Za-z][a-z]*(?:[A-Z][a-z]+){3,}(?![^\W_])")
"""`IgnoreAllPreviousInstructions`."""
SPACED = re.compile(r"(?<!\w)\w(?:[ .·_*-]{1,2}\w){4,}(?!\w)")
"""`i g n o r e`, `i-g-n-o-r-e`."""
LONG_DOUBLED = re.compile(r"(?<![^\W_])([^\W\d_])\1[^\W\d_]{4,}")
"""What begins as a word of three or more doubled letters does: `iiggnn…`, and hardly another word."""
LETTERS = re.compile(r"[^\W\d_]+")
WIDE_GAP = re.compile(r"\s{2,}|[ .·_*-]{2}")
UNSEEN = dict.fromkeys(code for code in (*range(32), 127) if not chr(code).isspace())
"""ASCII's control characters."""


@lru_cache(maxsize=8192)
def fold_character(character: str) -> str:
    """Return a character as it compares; empty for marks and what cannot be seen."""
    if character in FILLERS:
        return ""
    folded = LOOK_ALIKES.get(character) or "".join(
        LOOK_ALIKES.get(c, c)
        for c in unicodedata.normalize("NFKD", character).casefold()
        if unicodedata.category(c) not in ("Mn", "Me", "Cf", "Cc", "Cn", "Co") or c in "\n\t"
    )
    return " " if folded.isspace() or character == BLANK else folded


def fold(text: str) -> str:
    """Return a text as it compares, blanks run together; folding it again changes nothing."""
    folded = text.translate(UNSEEN).casefold() if text.isascii() else "".join(map(fold_character, text))
    return " ".join(folded.split())


def views(text: str, encoded: Sequence[str] | None = None) -> list[str]:
    """Return the folded text and, where they differ, its readings without tricks of spelling, and what it encodes.

    `encoded` is what `decoded` gives for the text, where that is known already.
    """
    plain = fold(text)
    readings = [
        plain,
        unleet(plain),
        unspace(text),
        unlink(text),
        undouble(plain),
        *map(fold, decoded(text) if encoded is None else encoded),
    ]
    return list(dict.fromkeys(filter(None, readings)))


def unleet(folded: str) -> str:
    """Return a folded text whose words with digits among their letters are read as letters."""
    return LEET_WORD.sub(lambda match: match.group().translate(LEET), folded)


def unspace(text: str) -> str:
    """Return the folded text with words that were spelt out joined; a wider gap stands between two words."""
    joined = SPACED.sub(lambda match: " ".join(map(_joined, WIDE_GAP.split(match.group()))), text)
    return fold(joined)


def unlink(text: str) -> str:
    """Return what is said by `WordsWrittenAsOne` and by `words_that_signs_link`, folded; empty without any."""
    humped = [re.sub(r"(?=[A-Z])", " ", match.group()) for match in HUMPED.finditer(text)]
    linked = [re.sub(r"[\W_]", " ", match.group()) for match in LINKED.finditer(text)]
    return fold("\n".join([*humped, *linked]))


def undouble(folded: str) -> str:
    """Return a folded text with each letter once where it has a word whose letters are all doubled, or tripled."""
    if not any(_times(match.group()) > 1 for match in LONG_DOUBLED.finditer(folded)):
        return folded
    return LETTERS.sub(lambda match: _once(match.group()), folded)


def _once(word: str) -> str:
    times = _times(word)
    return "".join(letter * (len([*run]) // times) for letter, run in groupby(word))


def _times(word: str) -> int:
    """Return how often each letter of a word was written."""
    return gcd(*(len([*run]) for _, run in groupby(word)))


def _joined(letters: str) -> str:
    return re.sub(r"[ .·_*-]", "", letters)
