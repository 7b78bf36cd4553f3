"""Rule out texts by heuristics: Gopher's, C4's and FineWeb's, retuned for chat, and our own for answers.

    python -m stages.quality.heuristics     # compile the kernel for this machine, once

A limit in `params.yaml` is called `min_` or `max_` and the measure it is on (`measures`); null turns its rule
off. Shares say little about a few words: a family's limits hold only for texts of at least its `enough_words`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from stages.quality.measures import MEASURES
from thumbwheel.command import run
from thumbwheel.params import Params

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

Limit = float | None
SLAB = 2_000_000
"""Characters that one thread measures at a time, which bounds the memory."""


class AnswerLimits(Params):
    """Our own, of any answer. `enough_words` are words and numbers; of Latin letters alone for `unpronounceable`."""

    enough_words: int
    min_characters: Limit
    max_symbols: Limit
    max_repeated_triples: Limit
    max_capitals: Limit
    max_unpronounceable: Limit
    max_open_words: Limit


class GopherLimits(Params):
    """Quality rules of Gopher."""

    enough_words: int
    min_words: Limit
    max_words: Limit
    min_mean_word_length: Limit
    max_mean_word_length: Limit
    max_hashes: Limit
    max_ellipses: Limit
    max_bullet_lines: Limit
    max_ellipsis_lines: Limit
    min_alphabetic_words: Limit
    min_stop_words: Limit


class RepetitionLimits(Params):
    """Repetition rules of Gopher."""

    enough_words: int
    max_repeated_paragraphs: Limit
    max_repeated_paragraph_characters: Limit
    max_repeated_lines: Limit
    max_repeated_line_characters: Limit
    max_top_2_gram: Limit
    max_top_3_gram: Limit
    max_top_4_gram: Limit
    max_repeated_5_grams: Limit
    max_repeated_6_grams: Limit
    max_repeated_7_grams: Limit
    max_repeated_8_grams: Limit
    max_repeated_9_grams: Limit
    max_repeated_10_grams: Limit


class C4Limits(Params):
    """Rules of C4; the first two are 0 to forbid, null to allow."""

    enough_words: int
    max_placeholder_text: Limit
    max_curly_bracket: Limit
    min_sentences: Limit


class FineWebLimits(Params):
    """Rules of FineWeb."""

    enough_words: int
    min_closed_lines: Limit
    max_short_lines: Limit
    max_copied_characters: Limit
    max_line_breaks: Limit


class HeuristicParams(Params):
    """All limits, by family; a text is ruled out by the first that it breaks, in this order."""

    answer: AnswerLimits
    gopher: GopherLimits
    repetition: RepetitionLimits
    c4: C4Limits
    fineweb: FineWebLimits


class Rule(NamedTuple):
    """`reason` is counted in the pin; `enough` is the measure that must reach the family's `enough_words`, if any."""

    reason: str
    family: str
    limit: str
    measure: str
    enough: str | None


class Fault(NamedTuple):
    """Why a text is ruled out: the reason, what was measured, and the limit."""

    reason: str
    value: float
    limit: float


REASONS: dict[str, dict[str, str]] = {
    "answer": {
        "min_characters": "too_short",
        "max_symbols": "symbols",
        "max_repeated_triples": "repetition",
        "max_capitals": "shouting",
        "max_unpronounceable": "gibberish",
        "max_open_words": "truncated",
    },
    "gopher": {
        "min_words": "gopher_short_doc",
        "max_words": "gopher_long_doc",
        "min_mean_word_length": "gopher_below_avg_threshold",
        "max_mean_word_length": "gopher_above_avg_threshold",
        "max_hashes": "gopher_too_many_hashes",
        "max_ellipses": "gopher_too_many_ellipsis",
        "max_bullet_lines": "gopher_too_many_bullets",
        "max_ellipsis_lines": "gopher_too_many_end_ellipsis",
        "min_alphabetic_words": "gopher_below_alpha_threshold",
        "min_stop_words": "gopher_enough_stop_words",
    },
    "repetition": {
        "max_repeated_paragraphs": "dup_para_frac",
        "max_repeated_paragraph_characters": "dup_para_char_frac",
        "max_repeated_lines": "dup_line_frac",
        "max_repeated_line_characters": "dup_line_char_frac",
        **{f"max_top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)},
        **{f"max_repeated_{n}_grams": f"duplicated_{n}_n_grams" for n in range(5, 11)},
    },
    "c4": {
        "max_placeholder_text": "lorem_ipsum",
        "max_curly_bracket": "curly_bracket",
        "min_sentences": "too_few_sentences",
    },
    "fineweb": {
        "min_closed_lines": "line_punct_ratio",
        "max_short_lines": "short_line_ratio",
        "max_copied_characters": "char_dup_ratio",
        "max_line_breaks": "list_ratio",
    },
}
"""By family and limit, in the order in which they are looked at; those of others by their names in datatrove."""
ENOUGH = {
    "min_characters": None,
    "max_symbols": None,
    "max_open_words": None,
    "max_repeated_triples": "plain_words",
    "max_capitals": "plain_words",
    "max_unpronounceable": "latin_words",
    "max_mean_word_length": "latin_words",
}
"""What must reach `enough_words`, where that is not `words`; scripts without blanks have words as long as sentences."""
RULES = tuple(
    Rule(reason, family, limit, limit[4:], ENOUGH.get(limit, "words"))
    for family, limits in REASONS.items()
    for limit, reason in limits.items()
)


def main() -> None:
    began = time.monotonic()
    measure_texts(["Hello."])
    log.info("the kernel of the heuristics is ready (%.0f s)", time.monotonic() - began)


def faults(texts: Sequence[str], params: HeuristicParams) -> list[Fault | None]:
    """Return why each text is ruled out, or None; on all cores, each thread a slab of texts at a time."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = pool.map(lambda slab: judge_measures(measure_texts(slab), params), slabs(texts))
        return [fault for each in found for fault in each]


def slabs(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the texts in order, in groups of some `SLAB` characters."""
    start = characters = 0
    for i, text in enumerate(texts):
        characters += len(text)
        if characters >= SLAB:
            yield texts[start : i + 1]
            start, characters = i + 1, 0
    if start < len(texts):
        yield texts[start:]


def measure_texts(texts: Sequence[str]) -> np.ndarray:
    """Return the measures of texts, shape (texts, len(MEASURES)), float64; lone surrogates are allowed."""
    import numpy as np

    from stages.quality.measure_kernel import measure_bytes

    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=offsets[1:])
    return measure_bytes(np.frombuffer(b"".join(encoded) + b"\0", np.uint8), offsets)


def judge_measures(values: np.ndarray, params: HeuristicParams) -> list[Fault | None]:
    """Return the first rule that each row of measures breaks, or None."""
    rules, broken = list(active(params)), broken_rules(values, params)
    found: list[Fault | None] = [None] * len(values)
    for row in (broken < len(rules)).nonzero()[0].tolist():
        rule, limit, _ = rules[broken[row]]
        found[row] = Fault(rule.reason, float(values[row, MEASURES.index(rule.measure)]), limit)
    return found


def broken_rules(values: np.ndarray, params: HeuristicParams) -> np.ndarray:
    """Return the place among the active rules of the first that each row of measures breaks, or their number."""
    import numpy as np

    rules = list(active(params))
    broken = np.full(len(values), len(rules))
    for place, (rule, limit, enough) in reversed(list(enumerate(rules))):
        measured = values[:, MEASURES.index(rule.measure)]
        over = measured > limit if rule.limit.startswith("max_") else measured < limit
        if rule.enough:
            over &= values[:, MEASURES.index(rule.enough)] >= enough
        broken[over] = place
    return broken


def active(params: HeuristicParams) -> Iterator[tuple[Rule, float, int]]:
    """Yield every rule that is on, with its limit and how many words are enough for it."""
    for rule in RULES:
        family = getattr(params, rule.family)
        if (limit := getattr(family, rule.limit)) is not None:
            yield rule, limit, family.enough_words


if __name__ == "__main__":
    run(main)
