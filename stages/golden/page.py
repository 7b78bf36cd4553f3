"""The page of the weekly watch: what moved how far, with what evidence, and the answers that changed most."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from eval.drift import FAILED, MEASURES, Line, Reply, overall
from stages.golden.asking import Question
from stages.golden.ledger import Ledger

SHOWN = 5
TABLE = "| what | today | margin | evidence | drift from | outcome |\n| --- | --- | --- | --- | --- | --- |"
NOTE = (
    "Evidence is the sum of all looks' e-values, with weights that come to 1 over all time. Where nothing drifts, the "
    "chance that any line ever reaches its limit is alpha at most."
)
HEADLINES = {
    "drift": "**Drift.** It no longer answers as it did.",
    "none": "**No drift.** Every margin is shown to be kept.",
    "inconclusive": "**Inconclusive.** No drift is shown, nor that every margin is kept.",
}
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;border-bottom:1px solid #ccc;text-align:left}"
    "blockquote{margin:.3rem 0;padding:.2rem 1rem;border-left:4px solid #bbb}"
)


def title(line: Line) -> str:
    """Return what a line is about, in words."""
    name, _, fallen = line.claim.name.partition(", ")
    what = "questions without an answer" if name == FAILED else MEASURES[name].title
    return f"{what}, fewer or less" if fallen else what


def sentence(release: Mapping[str, Any], lines: Sequence[Line], look: int) -> str:
    """Return what drifted, in one line."""
    moved = [
        f"{title(line)} {_number(line.claim.mean)} (margin {line.claim.criterion.margin:g})"
        for line in lines
        if line.outcome == "drift"
    ]
    return f"{release['model']} has drifted since its promotion, at look {look}: {'; '.join(moved)}"


def markdown(ledger: Ledger, today: Sequence[Reply | None], lines: Sequence[Line]) -> str:
    """Return the page in Markdown."""
    look, asked = len(ledger.looks), len(ledger.questions)
    head = [
        f"# The golden set of {ledger.release['model']}",
        f"{HEADLINES[overall(lines)]} Look {look}, {asked} questions, held against the answers of {ledger.kept_at}.",
        "\n".join([TABLE, *map(_row, lines)]),
        NOTE,
    ]
    shown = changed_most(ledger.questions, ledger.answers, today)
    return "\n\n".join([*head, *(["## Changed most"] if shown else []), *shown]) + "\n"


def changed_most(
    questions: Sequence[Question], before: Sequence[Reply | None], today: Sequence[Reply | None]
) -> list[str]:  # fmt: skip
    """Return the pairs of answers that have least in common, as quotations."""
    found = [
        (SequenceMatcher(None, a.text, b.text, autojunk=False).ratio(), question, a.text, b.text)
        for question, a, b in zip(questions, before, today, strict=True)
        if a is not None and b is not None and a.text != b.text
    ]
    found.sort(key=lambda item: (item[0], item[1].id))
    return [
        f"**{q.set} {q.id}**: {_line(q.turns[-1])}\n\nThen:\n\n> {_line(a)}\n\nNow:\n\n> {_line(b)}"
        for _, q, a, b in found[:SHOWN]
    ]


def files(folder: Path, text: str) -> dict[Path, str]:
    """Return the page as Markdown and as HTML, by where they are to be written."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    head = f'<meta charset="utf-8"><title>Golden set</title><style>{STYLE}</style>'
    page = f'<!doctype html><html lang="en">{head}{body}</html>'
    return {folder / "watch.md": text, folder / "watch.html": page}


def _row(line: Line) -> str:
    cells = [title(line), _number(line.claim.mean), f"{line.claim.criterion.margin:g}"]
    cells += [f"{line.evidence:.3g}", f"{line.needed:.3g}", line.outcome]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"


def _line(text: str) -> str:
    """Return a text on one line, with nothing in it that Markdown or HTML would read as their own."""
    plain = html.escape(" ".join(text.split()) or "(nothing)")
    return re.sub(r"([\\|*`_\[\]])", r"\\\1", plain)
