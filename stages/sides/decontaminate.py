"""Find evaluation questions in the rows: word for word, inside a longer text, or in other words.

Used by `stages.split`. Every question set in use counts, with all turns and reference answers. What a set's questions
are answered from (its documents) and what only the judge is tried on is no leak.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from stages.sides.items import Corpus, Item
from stages.sides.lexicon import Words, distinct, grams, short_texts, whole_sentences
from thumbwheel.params import Params

if TYPE_CHECKING:
    import numpy as np

    from thumbwheel.embedding import Vectors

LEAK = pa.schema(
    [
        ("id", pa.string()),
        ("table", pa.string()),
        ("set", pa.string()),
        ("question", pa.string()),
        ("part", pa.string()),
        ("how", pa.string()),
        ("similarity", pa.float64()),
        ("ways", pa.string()),
    ]
)
"""One row a pair of a row and a question that it holds; `part` is `turn N` or `answer N`, `how` one of `HOWS`, `ways`
all of those by which the two were seen."""
HOWS = ("words", "whole", "meaning")
"""`words`: shared n-grams, `similarity` being the share of the question's that the row holds; `whole`: a short question
stands there whole; `meaning`: the cosine."""
IN_WORDS, IN_MEANING = frozenset(("words", "whole")), frozenset(("meaning",))
"""The two ways that are counted apart: the same words, and the same meaning."""
BLOOM = 22
"""Bits of a table that tells most n-grams of the rows from those of the questions without a search."""
BLOCK = 4096


class LeakParams(Params):
    leak_words: int = Field(ge=1)
    """A row that shares so many words in a row with a question has leaked it."""
    leak_answer_share: float = Field(gt=0, le=1)
    """A row that holds this share of the word n-grams of a reference answer has leaked it; a phrase of it is none."""
    leak_sentence_words: int = Field(ge=1)
    """A question shorter than `leak_words` has leaked where a user's message is just that question, or, from so many
    words on, where whole sentences of a message are."""
    leak_cosine: float = Field(gt=0, le=1)
    """A question has leaked where a user's message means the same, by the cosine of sentence vectors."""


@dataclass(frozen=True)
class Probe:
    """One text of a question that is looked for."""

    set: str
    question: str
    part: str
    text: str

    @property
    def is_answer(self) -> bool:
        return self.part.startswith("answer")

    @property
    def is_opening(self) -> bool:
        return self.part == "turn 1"


@dataclass(frozen=True)
class Leak:
    """Row `row` holds `probe`, as seen by `how`; `ways` are all by which it holds any part of that question."""

    row: int
    probe: Probe
    how: str
    similarity: float
    ways: frozenset[str] = frozenset()


def probes(questions: Sequence[Mapping[str, Any]]) -> list[Probe]:
    """Return every turn and reference answer of the questions."""
    found = []
    for question in questions:
        for part, texts in (("turn", question["turns"]), ("answer", question.get("reference") or ())):
            for number, text in enumerate(texts, start=1):
                if text.strip():
                    found.append(Probe(question["set"], question["id"], f"{part} {number}", text))
    return found


def find_leaks(corpus: Corpus, looked_for: Sequence[Probe], vectors: Vectors, params: LeakParams) -> list[Leak]:
    """Return one leak for each row and question of which the row holds a part, by row, set and question.

    Of several, the first of `HOWS` is told, and of these the most similar; `ways` has them all.
    """
    words = corpus.lexicon.read(probe.text for probe in looked_for)
    hits = [
        *_by_words(corpus, words, looked_for, params),
        *_whole(corpus, words, looked_for, params),
        *_by_meaning(corpus, words, looked_for, vectors, params),
    ]
    best: dict[tuple[int, str, str], Leak] = {}
    ways: dict[tuple[int, str, str], set[str]] = {}
    for leak in sorted(hits, key=lambda hit: (HOWS.index(hit.how), -hit.similarity, hit.probe.part)):
        pair = (leak.row, leak.probe.set, leak.probe.question)
        best.setdefault(pair, leak)
        ways.setdefault(pair, set()).add(leak.how)
    return [replace(best[pair], ways=frozenset(ways[pair])) for pair in sorted(best)]


def leak_row(leak: Leak, item: Item) -> dict[str, Any]:
    """Return a leak as a row of `LEAK`."""
    probe = leak.probe
    where = {"id": item.id, "table": item.table, "set": probe.set, "question": probe.question, "part": probe.part}
    ways = ", ".join(how for how in HOWS if how in leak.ways)
    return {**where, "how": leak.how, "similarity": round(leak.similarity, 6), "ways": ways}


def leaks_by_set(leaks: Sequence[Leak], questions: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return, for each set, how many of its questions leaked, and how many rows hold one.

    `in_words` and `in_meaning` of them leaked in the one way and in the other; some did in both.
    """
    found = {}
    for name in sorted({question["set"] for question in questions}):
        mine = [leak for leak in leaks if leak.probe.set == name]
        found[name] = {
            "questions": sum(question["set"] == name for question in questions),
            "leaked": len({leak.probe.question for leak in mine}),
            "in_words": len({leak.probe.question for leak in mine if leak.ways & IN_WORDS}),
            "in_meaning": len({leak.probe.question for leak in mine if leak.ways & IN_MEANING}),
            "rows": len({leak.row for leak in mine}),
        }
    return found


def semantic_probes(words: Words, looked_for: Sequence[Probe], length: int) -> list[int]:
    """Return which probes are looked for by meaning: first turns, and later ones that are long enough to stand alone.

    "Make it shorter." means the same in every conversation.
    """
    sizes = words.sizes()
    return [
        k for k, probe in enumerate(looked_for) if probe.is_opening or (not probe.is_answer and int(sizes[k]) >= length)
    ]


def _by_words(corpus: Corpus, words: Words, looked_for: Sequence[Probe], params: LeakParams) -> Iterator[Leak]:
    """Yield the pairs that share n-grams, by an inverted index of the questions' hashes."""
    import numpy as np

    wanted, of_probe = distinct(*grams(words, params.leak_words))
    sizes = np.bincount(of_probe, minlength=len(looked_for))
    held, texts = _among(wanted, *grams(corpus.words, params.leak_words))
    held, rows = distinct(held, corpus.rows[texts])
    low, high = np.searchsorted(wanted, held), np.searchsorted(wanted, held, side="right")
    row = np.repeat(rows, high - low)
    probe = of_probe[_ranges(low, high)]
    both, counts = np.unique(np.stack([row, probe]), axis=1, return_counts=True)
    for i, k, count in zip(*both.tolist(), counts.tolist(), strict=True):
        share = count / int(sizes[k])
        if not looked_for[k].is_answer or share >= params.leak_answer_share:
            yield Leak(i, looked_for[k], "words", share)


def _whole(corpus: Corpus, words: Words, looked_for: Sequence[Probe], params: LeakParams) -> Iterator[Leak]:
    """Yield the pairs of a row and a question that is too short for n-grams."""
    import numpy as np

    hashes, of_probe = short_texts(words, params.leak_words)
    opening = np.array([looked_for[k].is_opening for k in of_probe], bool)
    hashes, of_probe = hashes[opening], of_probe[opening]
    sizes = words.sizes()[of_probe]
    for size in np.unique(sizes).tolist():
        if size >= params.leak_sentence_words:
            held, texts = whole_sentences(corpus.words, size)
        else:
            held, texts = short_texts(corpus.words, params.leak_words)
        said = corpus.asked[texts]
        rows_of = _members(held[said], corpus.rows[texts[said]])
        for k in np.flatnonzero(sizes == size).tolist():
            for row in rows_of(hashes[k]):
                yield Leak(int(row), looked_for[int(of_probe[k])], "whole", 1.0)


def _by_meaning(
    corpus: Corpus, words: Words, looked_for: Sequence[Probe], vectors: Vectors, params: LeakParams
) -> Iterator[Leak]:
    import numpy as np

    chosen = semantic_probes(words, looked_for, params.leak_words)
    places = np.flatnonzero(corpus.asked)
    if not chosen or not len(places):
        return
    questions = vectors.of([looked_for[k].text for k in chosen])
    for begin in range(0, len(places), BLOCK):
        block = places[begin : begin + BLOCK]
        cosines = vectors.of([corpus.texts[i] for i in block]) @ questions.T
        for i, k in zip(*np.nonzero(cosines >= params.leak_cosine), strict=True):
            yield Leak(int(corpus.rows[block[i]]), looked_for[chosen[k]], "meaning", float(cosines[i, k]))


def _among(wanted: np.ndarray, hashes: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return those of `hashes` that `wanted`, which is sorted, holds, and their texts."""
    import numpy as np

    bloom = np.zeros(1 << BLOOM, bool)
    bloom[wanted >> np.uint64(64 - BLOOM)] = True
    maybe = bloom[hashes >> np.uint64(64 - BLOOM)]
    hashes, texts = hashes[maybe], texts[maybe]
    sure = np.isin(hashes, wanted)
    return hashes[sure], texts[sure]


def _members(hashes: np.ndarray, rows: np.ndarray) -> Any:
    """Return a function that gives the distinct rows of a hash."""
    import numpy as np

    hashes, rows = distinct(hashes, rows)
    return lambda one: rows[np.searchsorted(hashes, one) : np.searchsorted(hashes, one, side="right")]


def _ranges(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return low[0] .. high[0] - 1, low[1] .. high[1] - 1 and so on, as one array."""
    import numpy as np

    sizes = high - low
    begins = np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.arange(int(sizes.sum())) - begins + np.repeat(low, sizes)
