"""A page of the best, the worst and the rejected rows, so that a person can check the taste of `stages.grade`.

Rows that were scored are ranked by the mean of their ranks: likelier is better, easier to predict from the question is
better, and so is a higher grade where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from stages.quality.heuristics import Fault
from stages.quality.likelihood import Score
from thumbwheel.lake import Pin
from thumbwheel.settings import settings

TEMPLATE = Path(__file__).with_name("taste.html.j2")
SHOWN_CHARACTERS = 1500
SHOWABLE = "\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Joiners are no printable characters, but some scripts and emoji need them."""
EXAMPLES = 2
"""Rejected rows that are shown of each reason."""


@dataclass(frozen=True)
class Card:
    """A row as it is shown; `quality` is from 0, the worst scored row, to 1, the best."""

    id: str
    source: str
    messages: tuple[tuple[str, str], ...]
    quality: float | None
    likelihood: float | None
    difficulty: float | None
    grade: float | None
    reason: str | None
    fault: Fault | None


@dataclass(frozen=True)
class Graded:
    """All that is known of the rows, by id."""

    rows: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Score]
    grades: Mapping[str, float]
    rejected: Mapping[str, str]
    faults: Mapping[str, Fault]

    def card(self, row_id: str, quality: float | None) -> Card:
        row, score = self.rows[row_id], self.scores.get(row_id)
        return Card(
            id=row_id,
            source=row["source"] or "",
            messages=tuple((message["role"], cut(message["content"])) for message in row["messages"]),
            quality=quality,
            likelihood=score.likelihood if score else None,
            difficulty=score.difficulty if score else None,
            grade=self.grades.get(row_id),
            reason=self.rejected.get(row_id),
            fault=self.faults.get(row_id),
        )


def choose(known: Graded, count: int) -> tuple[list[Card], list[Card], list[Card]]:
    """Return the best and the worst of the kept rows, `count` of each at most, and examples of the rejected ones."""
    quality = qualities(known.scores, known.grades)
    kept = sorted((i for i in quality if i not in known.rejected), key=lambda i: (-quality[i], i))
    best, worst = kept[:count], kept[count:][: -count - 1 : -1]
    rejected = groupby(sorted(known.rejected, key=lambda i: (known.rejected[i], i)), known.rejected.get)
    examples = [i for _, ids in rejected for i in list(ids)[:EXAMPLES]]
    best_cards, worst_cards, others = ([known.card(i, quality.get(i)) for i in ids] for ids in (best, worst, examples))
    return best_cards, worst_cards, others


def qualities(scores: Mapping[str, Score], grades: Mapping[str, float]) -> dict[str, float]:
    """Return the mean rank of each row over all that is known of it, each from 0 to 1."""
    signals = (
        ranks({i: one.likelihood for i, one in scores.items()}),
        ranks({i: -one.difficulty for i, one in scores.items()}),
        ranks(grades),
    )
    known = {row_id: [each[row_id] for each in signals if row_id in each] for each in signals for row_id in each}
    return {row_id: sum(values) / len(values) for row_id, values in known.items()}


def ranks(values: Mapping[str, float]) -> dict[str, float]:
    """Return the rank of each value from 0, the lowest, to 1; equal values share the mean of their ranks."""
    if len(values) < 2:
        return dict.fromkeys(values, 0.5)
    ordered = sorted(values, key=lambda one: (values[one], one))
    found: dict[str, float] = {}
    for _, alike in groupby(enumerate(ordered), key=lambda pair: values[pair[1]]):
        places = list(alike)
        mean = (places[0][0] + places[-1][0]) / 2
        found |= {one: mean / (len(ordered) - 1) for _, one in places}
    return found


def cut(text: str) -> str:
    """Return a text as it is shown: its beginning and its end, and nothing that a page cannot hold."""
    shown = "".join(c if c.isprintable() or c in SHOWABLE else "\ufffd" for c in text)
    half = SHOWN_CHARACTERS // 2
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:half]} […] {shown[-half:]}"


def write_page(known: Graded, pin: Pin, count: int) -> Path:
    """Write the page and return where it is."""
    path = settings().reports / "grade.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(known, pin, count), encoding="utf-8")
    return path


def render(known: Graded, pin: Pin, count: int) -> str:
    """Return the page; every text that is not ours is escaped."""
    from jinja2 import Environment, StrictUndefined

    best, worst, rejected = choose(known, count)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(
        pin=pin,
        total=len(known.rows),
        kept=len(known.rows) - len(known.rejected),
        best=best,
        worst=worst,
        rejected=rejected,
        examples=EXAMPLES,
        most=max(pin.rejections.values(), default=1),
    )


def number(value: float | None) -> str:
    """Return a number with three significant digits, and a dash for none."""
    if value is None:
        return "–"
    return ("∞" if value == float("inf") else f"{value:.3g}").replace("-", "−")
