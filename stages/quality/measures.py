"""What the heuristics measure of a text: the definitions, in plain Python, that the kernel is held to.

From Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1), C4 (Raffel et al. 2020, arXiv:1910.10683, section 2.2)
and FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.6), as datatrove computes them; and our own, for answers.
Lengths are in characters; a share of nothing is 0.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from functools import cache

from stages.quality.characters import PROSE_MARKS, TERMINALS, fold
from stages.quality.english import rules, sentence_count, spans

ANSWER = ("characters", "plain_words", "symbols", "repeated_triples", "capitals", "latin_words", "unpronounceable",
          "open_words")  # fmt: skip
GOPHER = ("words", "mean_word_length", "hashes", "ellipses", "bullet_lines", "ellipsis_lines", "alphabetic_words",
          "stop_words")  # fmt: skip
REPETITION = ("repeated_paragraphs", "repeated_paragraph_characters", "repeated_lines", "repeated_line_characters",
              "top_2_gram", "top_3_gram", "top_4_gram", *(f"repeated_{n}_grams" for n in range(5, 11)))  # fmt: skip
C4 = ("placeholder_text", "curly_bracket", "sentences")
FINEWEB = ("closed_lines", "short_lines", "copied_characters", "line_breaks")
MEASURES = (*ANSWER, *GOPHER, *REPETITION, *C4, *FINEWEB)

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = ("•", "-")
ELLIPSES = ("...", "…")
SHORT_LINE = 30
SENTENCE_ENDS = (".", "?", "!", '"', "'")
MIN_LINE_WORDS, MAX_WORD_LENGTH = 3, 1000
CITATION = re.compile(r"\[[0-9]*]|\[edit]|\[citation needed]")
NOTICES = ("javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies",
           "use cookies")  # fmt: skip
"""C4 passes over a line with one of these; over the first of them even before it looks for brackets."""

PLAIN_WORD = re.compile(r"\w+")
LATIN_WORD = re.compile(r"[a-z]{4,}")
CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{4,}")
LIST_LINE = re.compile(r"\s*([-*•–]|[0-9]+[.)]|#+)\s|\s*\|")
SENTENCE_BREAK = re.compile(r"[.!?]\s")
DANGLING = PLAIN_WORD.findall(
    "a also an and are as at be because but by can for from has have if in into is it its my nor of on or our so "
    "than that the their then this to was we were when where which while will with you your"
)
"""Words that hardly ever end an English answer."""


def measure(text: str) -> dict[str, float]:
    """Return every measure of a text by name."""
    words = [text[begin:end] for begin, end in spans(text)]
    values = [*answer(text), *gopher(text, words), *repetition(text, words), *c4(text), *fineweb(text, words)]
    return dict(zip(MEASURES, map(float, values), strict=True))


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def answer(text: str) -> Iterator[float]:
    """Yield what `ANSWER` names."""
    plain, latin = PLAIN_WORD.findall(fold(text)), LATIN_WORD.findall(text.lower())
    triples = list(zip(plain, plain[1:], plain[2:], strict=False))
    yield len(text.strip())
    yield len(plain)
    yield symbol_share(text)
    yield share(len(triples) - len(set(triples)), len(triples))
    yield share(sum(c.isupper() and c.isalpha() for c in text), sum(map(str.isalpha, text)))
    yield len(latin)
    yield share(sum(bool(CONSONANTS.search(word)) for word in latin), len(latin))
    yield open_words(text)


def symbol_share(text: str) -> float:
    """Return the share of visible characters that are neither letters, digits, marks nor punctuation of prose."""
    visible = [c for c in text if not c.isspace()]
    odd = (not c.isalnum() and c not in PROSE_MARKS and unicodedata.category(c)[0] != "M" for c in visible)
    return share(sum(odd), len(visible))


def open_words(text: str) -> float:
    """Return how many words stand in a last sentence that was not closed; 0 where the text may end as it does.

    Infinite where it surely goes on: after a comma, or after a word that opens something ("and the"). Else a text is
    taken as open only if it closes two sentences before; titles and single phrases go without a closing mark.
    """
    text = text.rstrip()
    line = text.rsplit("\n", 1)[-1]
    if not text or text[-1] in TERMINALS or LIST_LINE.match(line) or "```" in line:
        return 0
    if not (text[-1].isalpha() or text[-1] == "-"):
        return math.inf if text[-1] == "," else 0
    words = PLAIN_WORD.findall(fold(line))
    if len(words) > 3 and words[-1] in DANGLING:
        return math.inf
    return len(PLAIN_WORD.findall(SENTENCE_BREAK.split(line)[-1])) if len(SENTENCE_BREAK.findall(text)) > 1 else 0


def gopher(text: str, words: Sequence[str]) -> Iterator[float]:
    """Yield what `GOPHER` names; marks count as words, but for `words` and `mean_word_length`."""
    symbols = symbol_characters()
    real, lines = [word for word in words if not symbols.issuperset(word)], text.splitlines()
    yield len(real)
    yield share(sum(map(len, real)), len(real))
    yield share(text.count("#"), len(words))
    yield share(sum(map(text.count, ELLIPSES)), len(words))
    yield share(sum(line.lstrip().startswith(BULLETS) for line in lines), len(lines))
    yield share(sum(line.rstrip().endswith(ELLIPSES) for line in lines), len(lines))
    yield share(sum(any(map(str.isalpha, word)) for word in words), len(words))
    yield len(set(words).intersection(STOP_WORDS))


@cache
def symbol_characters() -> frozenset[str]:
    """Return datatrove's punctuation and control characters."""
    return frozenset(chr(code) for first, last in rules()["symbol"] for code in range(first, last + 1))


def repetition(text: str, words: Sequence[str]) -> Iterator[float]:
    """Yield what `REPETITION` names; but for the first and third, shares of the text's characters."""
    for parts in (re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)):
        repeated, characters = copies(parts)
        yield share(repeated, len(parts))
        yield share(characters, len(text))
    for n in (2, 3, 4):
        yield share(top_gram(words, n), len(text))
    for n in range(5, 11):
        yield share(repeated_grams(words, n), len(text))


def copies(parts: Sequence[str]) -> tuple[int, int]:
    """Return how many parts occurred before, and their characters."""
    seen: set[str] = set()
    again = [part for part in parts if part in seen or seen.add(part)]  # type: ignore[func-returns-value]
    return len(again), sum(map(len, again))


def top_gram(words: Sequence[str], n: int) -> int:
    """Return the characters that the commonest run of `n` words takes up in all, single spaces between its words."""
    counts = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    return sum(len(gram) * count for gram, count in counts.most_common(1))


def repeated_grams(words: Sequence[str], n: int) -> int:
    """Return the characters of runs of `n` words that occurred before; runs do not overlap those already counted."""
    seen: set[Hashable] = set()
    characters = at = 0
    while at <= len(words) - n:
        gram = tuple(words[at : at + n])
        known = gram in seen
        seen.add(gram)
        characters += sum(map(len, gram)) if known else 0
        at += n if known else 1
    return characters


def c4(text: str) -> Iterator[float]:
    """Yield whether a line that C4 looks at holds "lorem ipsum", or "{"; and the sentences of the lines it keeps."""
    lines = [line for line in map(c4_line, text.splitlines()) if line is not None]
    yield any("lorem ipsum" in line.lower() for line in lines)
    yield any("{" in line and NOTICES[0] not in line.lower() for line in lines)
    yield sum(sentence_count(line) for line in lines if not any(notice in line.lower() for notice in NOTICES))


def c4_line(line: str) -> str | None:
    """Return a line without citations, or None where it has no closing mark, too few words or too long a word."""
    words = line.split()
    bare = CITATION.sub("", line.strip())
    closed = bare.endswith(SENTENCE_ENDS) and not bare.endswith("...")
    return bare if closed and len(words) >= MIN_LINE_WORDS and max(map(len, words)) <= MAX_WORD_LENGTH else None


def fineweb(text: str, words: Sequence[str]) -> Iterator[float]:
    """Yield what `FINEWEB` names; lines of white space do not count."""
    lines = [line for line in text.split("\n") if line.strip()]
    ends = {code for first, last in rules()["terminal"] for code in range(first, last + 1)}
    yield share(sum(ord(line[-1]) in ends for line in lines), len(lines))
    yield share(sum(len(line) <= SHORT_LINE for line in lines), len(lines))
    yield share(copies(lines)[1], len(text) - text.count("\n"))
    yield share(text.count("\n"), len(words))
