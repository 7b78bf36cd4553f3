"""Write stages/quality/english_rules.json: how spaCy's blank English splits words, and datatrove's punctuation.

    python benchmarks/english_rules.py

Both are read in the peer's own environment, so that the data stage needs neither. Characters stand as ranges of code
points, both ends included.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "stages" / "quality" / "english_rules.json"
REQUIREMENTS = ["datatrove==0.10.1", "spacy[ja]==3.8.18", "regex", "nltk", "orjson"]
"""datatrove imports spaCy's Japanese tokenizer whatever the language."""
READ = "from benchmarks.english_rules import spacy_rules, datatrove_rules; import json; "
PRINT = "print(json.dumps(spacy_rules() | datatrove_rules()))"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from benchmarks.measure import peer_python

    peer = peer_python("datatrove", REQUIREMENTS)
    said = subprocess.run([peer, "-c", READ + PRINT], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    rules = json.loads(said.splitlines()[-1])
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(rules.items()))
    TARGET.write_text("{\n" + lines + "\n}\n")


def spacy_rules() -> dict[str, Any]:
    """Return special cases (string to the lengths of its pieces), character classes, currencies and units."""
    import spacy
    from spacy.lang import char_classes as classes
    from spacy.pipeline import Sentencizer

    before_dot = rf"[0-9{classes.ALPHA_LOWER}%²\-\+{classes.PUNCT}(?:{classes.CONCAT_QUOTES})]"
    prefixes = singles(
        ["§", "%", "=", "—", "–", *classes.LIST_PUNCT, "…", *classes.LIST_QUOTES, *classes.LIST_CURRENCY]
    )
    suffixes = singles([*classes.LIST_PUNCT, "…", *classes.LIST_QUOTES, "—", "–"])
    tokenizer: Any = spacy.blank("en").tokenizer
    special = {text: [len(piece[65]) for piece in pieces] for text, pieces in tokenizer.rules.items()}
    return {
        "spacy": spacy.__version__,
        "special": {text: lengths for text, lengths in sorted(special.items()) if not re.search(r"\s", text)},
        "alpha": matching(f"[{classes.ALPHA}]"),
        "lower": matching(f"[{classes.ALPHA_LOWER}]"),
        "upper": matching(f"[{classes.ALPHA_UPPER}]"),
        "icon": matching(f"[{classes.ICONS}]"),
        "quote": matching(f"[{classes.CONCAT_QUOTES}]"),
        "before_dot": matching(before_dot),
        "prefix": ranges(map(ord, prefixes)),
        "suffix": ranges(map(ord, suffixes)),
        "sentence_end": ranges(map(ord, Sentencizer.default_punct_chars)),
        "currency": [unescaped(one) for one in classes.LIST_CURRENCY],
        "units": classes.LIST_UNITS,
    }


def datatrove_rules() -> dict[str, Any]:
    """Return the characters of which a word is a mere symbol, and those that end a line well."""
    from importlib.metadata import version

    from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION

    return {
        "datatrove": version("datatrove"),
        "symbol": ranges(map(ord, PUNCTUATION_SET)),
        "terminal": ranges(map(ord, TERMINAL_PUNCTUATION)),
    }


def singles(entries: Iterable[str]) -> set[str]:
    """Return the entries that are one character."""
    return {one for entry in entries if len(one := unescaped(entry)) == 1}


def unescaped(entry: str) -> str:
    return entry.replace("\\", "")


def matching(pattern: str) -> list[list[int]]:
    """Return the ranges of the code points that a pattern matches."""
    found: Callable[[str], Any] = re.compile(pattern).match
    return ranges(code for code in range(sys.maxunicode + 1) if found(chr(code)))


def ranges(codes: Iterable[int]) -> list[list[int]]:
    """Return code points as sorted ranges, both ends included."""
    spans: list[list[int]] = []
    for code in sorted(set(codes)):
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return spans


if __name__ == "__main__":
    main()
