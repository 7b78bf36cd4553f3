"""What two questions must have in common, word for word, to be given one answer, however near their vectors are.

Sentence vectors place "with" beside "without", 20 beside 21 and Paris beside London. So questions count as one only
where their numbers, negations, opposites, names and quoted or coded words are the same and in the same order, and where
the other words that they share come in one order, too ("from euros to dollars", "from dollars to euros").
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
OPENERS = frozenset(WORDS["openers"])
FILLING = frozenset(WORDS["filling"])


@dataclass(frozen=True)
class Literals:
    """What a question says word for word.

    `exact` must be the same in two questions; `names` of one must stand in the other, in whatever case; and what they
    share of `words`, which are all but the filling ones, must come in one order.
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


def agree(one: Literals, other: Literals) -> bool:
    """Tell whether two questions may share an answer, as far as their words say."""
    shared = set(one.words) & set(other.words)
    return (
        one.exact == other.exact
        and one.names | other.names <= shared
        and [w for w in one.words if w in shared] == [w for w in other.words if w in shared]
    )


def _is_exact(word: str, lower: str) -> bool:
    return lower in LISTED or not word[0].isalpha() or any(c.isdigit() for c in word)


def _is_name(word: str) -> bool:
    return word[0].isupper() or any(c.isupper() for c in word[1:])
