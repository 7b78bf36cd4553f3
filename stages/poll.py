"""Write a page on which people compare the answers of candidate and champion without knowing which is whose.

    python -m stages.poll [COUNT]

Looks at the outside world and is no stage. The questions are drawn at random from those that the judge compares, which
is what lets the gate correct the judge by what people say (`eval.ppi`); A and B are drawn for each. The page saves a
file of verdicts for `data/human`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval import dossier
from eval.plan import Key, Row, by_question
from stages.judge import JudgeParams
from thumbwheel.command import run
from thumbwheel.lake import read_pin, read_pinned
from thumbwheel.params import load_params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

TEMPLATE = Path(dossier.__file__).with_name("poll.html.j2")
COUNT = 50


def main() -> None:
    params = load_params("judge", JudgeParams)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    questions = {(q["set"], q["id"]): q for q in read_pinned("pose", "questions").to_pylist()}
    sides = by_question(read_pinned("answer", "answers").to_pylist())
    judged = {key: both for key, both in sides.items() if key[0] in params.pairwise_sets}
    page = settings().reports / "poll.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    shown = cards(questions, judged, count, np.random.default_rng(params.seed))
    page.write_text(render(shown, read_pin("answer").facts["bundles"]))
    log.info("%d pairs of answers to compare: open %s", len(shown), page)


def cards(
    questions: Mapping[Key, Row], sides: Mapping[Key, Mapping[str, Row]], count: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return at most `count` pairs, drawn at random, in random order, each with its sides in random order."""
    keys = sorted(sides)
    drawn = [keys[index] for index in rng.permutation(len(keys))[:count]]
    return [_card(key, questions[key]["turns"], sides[key], bool(rng.random() < 0.5)) for key in drawn]


def _card(key: Key, turns: Sequence[str], sides: Mapping[str, Row], candidate_first: bool) -> dict[str, Any]:
    order = ("candidate", "champion") if candidate_first else ("champion", "candidate")
    first, second = (sides[side]["replies"] for side in order)
    card = {"set": key[0], "question": key[1], "turns": turns, "first": first, "second": second}
    return card | {"candidate_first": candidate_first}


def render(shown: Sequence[Mapping[str, Any]], bundles: Mapping[str, str]) -> str:
    """Return the page; texts travel as JSON in which no markup can begin."""
    from jinja2 import Environment, StrictUndefined

    content = {"cards": list(shown), "candidate": bundles["candidate"], "champion": bundles["champion"]}
    mark = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    data = json.dumps(content | {"mark": mark}, ensure_ascii=True).replace("<", "\\u003c").replace("&", "\\u0026")
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE.read_text()).render(data=data)


if __name__ == "__main__":
    run(main)
