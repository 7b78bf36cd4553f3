"""What two questions must have in common, word for word, to be given one answer, however near their vectors are.

Sentence vectors place "with" beside "without", 20 beside 21, and "euros to dollars" beside "dollars to euros".
So two questions count as one only where their numbers, negations and opposites are the same, their names too, in
whatever case, and their other words, in the same order, up to an ending; only filling words may come and go.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import yaml

DATA = Path(__file__).resolve().parent / "words.yaml"
WORD = re.compile(r"[^\W_]+(?:['’.,:/@_+-][^\W_]+)*[+#%°]*|[$€£¥%°<>=≤≥≠+*^/-]")
CONTRACTED = re.compile(r"(\w+?)n['’]t\b", re.IGNORECASE)
WORDS = {name: str(value).split() for name, value in yaml.safe_load(DATA.read_text()).items()}
NUMBERS = {word: str(number) for number, word in enumerate(WORDS["numbers"])}
LISTED = frozenset([*WORDS["amounts"], *WORDS["negations"], *WORDS["opposites"], *NUMBERS])
ENDINGS = ("", *WORDS["endings"])
OPENERS = frozenset(WORDS["openers"])
FILLING = frozenset(WORDS["filling"])


@dataclass(frozen=True)
class Literals:
    """What a question says word for word.

    `exact` must be the same in two questions; `names` of one must stand in the other; `words`, which are all others but
    the filling ones, must be the same up to an ending.
    """

    exact: tuple[str, ...]
    names: frozenset[str]
    words: tuple[str, ...]


def literals(question: str) -> Literals:
    """Return what of a question must be the same in another one that is given its answer."""
    text = CONTRACTED.sub(r"\1 not", unicodedata.normalize("NFKC", question))
    exact: list[str] = []
    names: set[str] = set()
    words: list[str] = []
    begins = True
    for match in WORD.finditer(text):
        word, lower = match[0], match[0].casefold()
        if _is_exact(word, lower):
            exact.append(NUMBERS.get(lower, lower))
        elif lower not in FILLING:
            words.append(lower)
            if _is_name(word) and not (begins and lower in OPENERS):
                names.add(lower)
        begins = text[match.end() : match.end() + 1] in (".", "!", "?", "\n")
    return Literals(tuple(exact), frozenset(names), tuple(words))


def plain(question: str) -> str:
    """Return a question with one question mark at its end: on whether there is one a sentence model leans heavily."""
    return " ".join(question.split()).rstrip(" .?!") + "?"


def agree(one: Literals, other: Literals) -> bool:
    """Tell whether two questions may share an answer, as far as their words say."""
    ones, others = one.words, other.words
    return (
        one.exact == other.exact
        and one.names | other.names <= set(ones) & set(others)
        and len(ones) == len(others)
        and all(map(_is_inflected, ones, others))
    )


def _is_inflected(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and long[len(short) :] in ENDINGS


def _is_exact(word: str, lower: str) -> bool:
    return lower in LISTED or not word[0].isalpha() or any(c.isdigit() for c in word)


def _is_name(word: str) -> bool:
    return word[0].isupper() or any(c.isupper() for c in word[1:])
