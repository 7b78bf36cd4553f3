"""What is known of every character is what Python says of it."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable

import pytest

from stages.quality import characters

PYTHON_SAYS: dict[int, Callable[[str], bool]] = {
    characters.SPACE: str.isspace,
    characters.LETTER: str.isalpha,
    characters.WORD: lambda c: c.isalnum() or c == "_",
    characters.ALNUM: str.isalnum,
    characters.UPPER: str.isupper,
    characters.MARK: lambda c: unicodedata.category(c)[0] == "M",
    characters.PUNCTUATION: lambda c: unicodedata.category(c)[0] == "P",
    characters.PROSE: characters.PROSE_MARKS.__contains__,
    characters.CLOSE: characters.TERMINALS.__contains__,
    characters.LINE_END: characters.LINE_ENDS.__contains__,
    characters.LATIN: lambda c: c.isascii() and c.isalpha(),
    characters.CONSONANT: lambda c: c.isascii() and c.isalpha() and c.lower() not in "aeiouy",
}


@pytest.mark.parametrize("bit", PYTHON_SAYS)
def test_a_code_points_bits_are_what_python_says(bit: int) -> None:
    holds, table = PYTHON_SAYS[bit], characters.table()
    assert all(bool(table[code] & bit) == holds(chr(code)) for code in (*range(0x3000), *range(0x3000, 0x110000, 19)))


def test_no_character_beyond_the_assigned_ones_is_known() -> None:
    ranges = [range(*ends) for ends in characters.ASSIGNED]
    beyond = (code for code in range(sys.maxunicode + 1) if not any(code in each for each in ranges))
    assert {unicodedata.category(chr(code)) for code in beyond} <= {"Cn", "Co"}


def test_lower_case_by_character_keeps_words_apart() -> None:
    assert all(("a" + characters.fold(chr(c)) + "b").isalnum() == chr(c).isalnum() for c in range(0x20000))
    assert all(characters.folds()[c] == ord(characters.fold(chr(c))) for c in range(0, len(characters.folds()), 13))
