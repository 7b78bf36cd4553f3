"""Write the data card: what came, what went and why, and what is learnt from, on one page for people.

    python -m stages.describe

A function of the pins of the data stages and their tables, and so the same bytes for the same data.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.card import card, pictures
from stages.card.card import DescribeParams, Tables
from thumbwheel.command import run
from thumbwheel.lake import Pin, read_pin, read_table
from thumbwheel.params import load_params
from thumbwheel.settings import settings
from thumbwheel.tracking import stage_run

log = logging.getLogger(__name__)

TEMPLATES = {"data_card.html": "data_card.html.j2", "data_card.md": "data_card.md.j2"}
NEEDED = {
    "ingest": ("conversations", "preferences", "quarantine"),
    "dedup": ("dropped",),
    "scrub": ("conversations", "preferences", "findings"),
    "grade": (),
    "split": ("conversations", "preferences", "dropped", "leaks", "topics", "map"),
}
"""The tables that the card is made from."""
COLUMNS = {"ingest": ("source",)}
"""Those that are read of a stage's tables, where they are not all: what `ingest` wrote is raw, and may be large."""


def describe(pins: Mapping[str, Pin], tables: Tables, params: DescribeParams) -> dict[str, str]:
    """Return the pages by file name."""
    facts = _facts(pins, tables, params)
    return {name: _render(template, facts) for name, template in TEMPLATES.items()}


def _facts(pins: Mapping[str, Pin], tables: Tables, params: DescribeParams) -> dict[str, Any]:
    steps, sides = card.funnel(pins), card.side_counts(tables)
    topics = tables["split.topics"].to_pylist()
    together = {side: sum(sides[kind][side] for kind in card.KINDS) for side in card.SIDES}
    histograms = card.lengths(tables["split.conversations"])
    return {
        "steps": steps,
        "sides": sides,
        "together": together,
        "period": card.period(tables),
        "sources": card.sources(tables),
        "licences": card.shares(tables, "licence"),
        "languages": card.shares(tables, "lang", ("conversations",)),
        "origins": card.shares(tables, "origin", ("preferences",)),
        "objectives": card.shares(tables, "objective", ("preferences",)),
        "topics": topics,
        "histograms": [(found, pictures.columns(found)) for found in histograms],
        "duplicates": card.duplicates(tables, params),
        "personal": card.personal(tables, pins["scrub"].facts),
        "not_looked_for": pins["scrub"].facts["not_looked_for"],
        "leaks": card.leaks(tables, pins["split"].facts, params),
        "examples": card.examples(tables["split.conversations"], topics, params),
        "pins": [(stage, name, pin) for stage in card.STAGES for name, pin in sorted(pins[stage].tables.items())],
        "flow": pictures.flow(steps, together),
        "map": pictures.topic_map(
            tables["split.map"].to_pylist(), {t["cluster"]: t["terms"] for t in topics}, params.map_points
        ),
        "picture": pictures,
    }


def _render(template: str, facts: Mapping[str, Any]) -> str:
    """Return a page; every text that is not ours is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=".html" in template, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = percent
    environment.filters["cell"] = cell
    environment.filters["plain"] = pictures.plain
    return environment.from_string((Path(__file__).parent / "card" / template).read_text()).render(facts)


def percent(part: float, whole: float) -> str:
    """Return a share in percent, with a digit behind the point where it is small."""
    if not whole:
        return "–"
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 10 or not part else f"{share:.1f} %" if share >= 0.1 else "< 0.1 %"


def cell(text: str) -> str:
    """Return a text as it may stand in a cell of a Markdown table."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#" else c for c in " ".join(text.split()))


def main() -> None:
    """Write both pages and log them to the tracker."""
    params = load_params("describe", DescribeParams)
    with stage_run("describe", params) as tracked:
        pins = {stage: read_pin(stage) for stage in card.STAGES}
        tables = {
            f"{stage}.{name}": read_table(pins[stage].tables[name], COLUMNS.get(stage))
            for stage, names in NEEDED.items()
            for name in names
        }
        for name, page in describe(pins, tables, params).items():
            tracked.artifact(_write(settings().reports / name, page))
        log.info("the data card is %s", settings().reports / "data_card.html")


def _write(path: Path, page: str) -> Path:
    """Write a page, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(page, encoding="utf-8")
    return part.replace(path)


if __name__ == "__main__":
    run(main)
