"""Write the queue that reviewers work off on the chat's page: disliked replies, and answers of two releases.

    python -m stages.enqueue

Replies stand in the order of how many disliked them and how little the judge could tell. Answers of releases are drawn
at random and keep that order, whoever stops where: only a random sample may correct the judge (`eval.ppi`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from eval.plan import by_question
from stages.poll import cards
from thumbwheel.command import run
from thumbwheel.lake import read_pin, read_pinned, write_json
from thumbwheel.params import Params, load_params
from thumbwheel.records import QUEUED
from thumbwheel.reviews import RELEASE, REPLY, SIDES, TIE
from thumbwheel.settings import settings
from thumbwheel.tracking import stage_run

Row = Mapping[str, Any]
SHOWN = ("id", "conversation_id", "message_id", "prompt", "reply", "other", "spans", "reasons", "dislikes", "doubt")
"""Of a row of `QUEUED`: all but who disliked it."""


class EnqueueParams(Params):
    sets: tuple[str, ...]
    comparisons: int = Field(ge=0)
    replies_between: int = Field(ge=0)
    seed: int


def replies(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the items of disliked replies, the most disliked and least certain first."""
    items = [{"kind": REPLY, **{name: row[name] for name in (*SHOWN, "model", "arm")}} for row in rows]
    return sorted(items, key=lambda item: (-item["dislikes"] * item["doubt"], item["id"]))


def releases(
    questions: Sequence[Row], answers: Sequence[Row], bundles: Mapping[str, str], params: EnqueueParams
) -> list[dict[str, Any]]:
    """Return items of both releases' answers, drawn at random; none where both are one bundle."""
    if len(set(bundles.values())) < len(SIDES):
        return []
    known = {(q["set"], q["id"]): q for q in questions}
    sides = {key: both for key, both in by_question(answers).items() if key[0] in params.sets and _whole(both)}
    drawn = cards(known, sides, params.comparisons, np.random.default_rng(params.seed))
    return [_release(card, sides[card["set"], card["question"]], bundles) for card in drawn]


def interleaved(first: Sequence[Any], second: Sequence[Any], between: int) -> Iterator[Any]:
    """Yield one of `second` after each `between` of `first`, and what is left of either."""
    rest = iter(second)
    for place, item in enumerate(first, 1):
        yield item
        if between and place % between == 0:
            yield from (one for one in [next(rest, None)] if one is not None)
    yield from rest


def comparisons(events: Iterable[Row]) -> list[dict[str, str]]:
    """Return the verdicts of reviewers' events of kind `comparison`, as `eval.people` reads them."""
    found = [event for event in events if event["kind"] == "comparison" and event["reason"] in (*SIDES, TIE)]
    return [
        {
            "set": event["conversation_id"],
            "question": event["message_id"],
            "candidate": event["model"],
            "champion": event["replaces"],
            "winner": event["reason"],
            "rater": event["user"],
        }
        for event in sorted(found, key=lambda event: (event["created_at"], event["event_id"]))
    ]


def _release(card: Row, both: Mapping[str, Row], bundles: Mapping[str, str]) -> dict[str, Any]:
    name = "\x1f".join([card["set"], card["question"], *(bundles[side] for side in SIDES)])
    told = {"id": hashlib.sha256(name.encode()).hexdigest(), "set": card["set"], "question": card["question"]}
    sides = {side: {"bundle": bundles[side], "replies": both[side]["replies"]} for side in SIDES}
    return {"kind": RELEASE, **told, "turns": card["turns"], **sides}


def _whole(both: Mapping[str, Row]) -> bool:
    return all(side in both and both[side]["replies"] and not both[side]["error"] for side in SIDES)


def main() -> None:
    params = load_params("enqueue", EnqueueParams)
    with stage_run("enqueue", params) as tracked:
        disliked = replies(read_pinned("pairs", "queue", QUEUED).to_pylist())
        questions, answers = (read_pinned(*of).to_pylist() for of in (("pose", "questions"), ("answer", "answers")))
        compared = releases(questions, answers, read_pin("answer").facts["bundles"], params)
        tracked.metrics({"replies": len(disliked), "comparisons": len(compared)})
        write_json(settings().queue, {"items": [*interleaved(disliked, compared, params.replies_between)]})
    print(f"{len(disliked)} disliked replies and {len(compared)} pairs of answers wait for reviewers: page /review")


if __name__ == "__main__":
    run(main)
