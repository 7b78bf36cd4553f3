"""Make preference pairs from feedback: the disliked reply, byte for byte, and a better one by a fixed order of ways.

    python -m stages.pairs

The better reply is, in this order: the user's own edit; the regenerated reply that the user then liked; a reviewer's
repair; the best of N fresh samples that the judge prefers in both orders. Otherwise there is no pair: the event goes
to the table `unpaired`: what is disliked there is the review queue, and all of it is for training without pairs (KTO).

A thumb pressed on the page may take part in the very next turn, so `minimum_age_hours` is 0 unless raised. The age
counts back from the newest event and not from the clock, so that the same feedback gives the same pairs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from pydantic import Field, ValidationError

from stages.alike import AlikeParams, spread
from stages.best_of_n import BestOfNParams, Resampled, resample
from stages.evidence import (
    UNSAFE,
    Event,
    Evidence,
    Key,
    key_of,
    marks_of_reviewers,
    opinion_of,
    reviewed,
    time_of,
    weigh,
    when,
)
from stages.queue import queued
from thumbwheel.command import run
from thumbwheel.errors import PinError
from thumbwheel.forgotten import REASON, Forgotten, observed
from thumbwheel.lake import Pin, TablePin, conform, read_table, write_pin, write_table
from thumbwheel.params import Params, load_params
from thumbwheel.records import FEEDBACK, OBJECTIVES, ORIGINS, PREFERENCE, QUEUED, preference_id, to_table
from thumbwheel.settings import settings

Row = dict[str, Any]
Resample = Callable[[Sequence[Event]], list[Resampled]]

LICENCE = "consented-feedback"
NOBODY = Forgotten()


class Weights(Params):
    """Weight in training of a pair, by where its chosen reply came from."""

    edit: float = Field(gt=0)
    regeneration: float = Field(gt=0)
    review: float = Field(gt=0)
    best_of_n: float = Field(gt=0)


class PairsParams(Params):
    """`cap_per_user` limits the disliked messages used of one user, newest first, and likewise the liked ones.

    `alike` limits the pairs whose chosen replies are nearly the same, those whose questions have the same words, and
    the liked replies that are nearly the same.
    """

    minimum_age_hours: float = Field(ge=0)
    cap_per_user: int = Field(ge=1)
    alike: AlikeParams
    weights: Weights
    best_of_n: BestOfNParams


@dataclass
class Pairs:
    """Preference rows, the feedback rows that made none, and how many were turned away for each reason."""

    preferences: list[Row] = field(default_factory=list)
    unpaired: list[Event] = field(default_factory=list)
    queue: list[Row] = field(default_factory=list)
    """Rows of `QUEUED`: the disliked replies for reviewers to see."""
    rejections: Counter[str] = field(default_factory=Counter)


def make_pairs(
    events: Iterable[Event], params: PairsParams, resample: Resample, refused: Forgotten = NOBODY
) -> Pairs:  # fmt: skip
    """Return what feedback events give, but those of users who were forgotten; their order does not matter.

    `resample` is given the disliked events that no user and no reviewer has mended, newest first, and returns a better
    reply or the reason for none, in the same order.
    """
    result, age = Pairs(), timedelta(hours=params.minimum_age_hours)
    remembered = [event for event in events if not _refuse(event, refused, result.rejections)]
    evidence = weigh(_distinct(remembered, result.rejections), age, result.rejections)
    dislikes = _capped(evidence.disliked.values(), params.cap_per_user, result.rejections)
    found = {key_of(event): _better(event, evidence, result.rejections) for event in dislikes}
    open_ = [event for event in dislikes if found[key_of(event)] is None]
    fresh = dict(zip(map(key_of, open_), resample(open_) if open_ else [], strict=True))
    for key, sample in fresh.items():
        if sample.text is None:
            result.rejections[sample.reason] += 1
        else:
            found[key] = ("best_of_n", sample.text)
    result.queue = queued([event for event in open_ if found[key_of(event)] is None], fresh, evidence)
    rows = [_preference(e, *better, evidence, params) for e in dislikes if (better := found[key_of(e)]) is not None]
    result.preferences = _spread(_by_time(_agreed(rows, result.rejections), "id"), params.alike, result.rejections)
    result.unpaired = _by_time(_unpaired(dislikes, found, evidence, params, result.rejections), "event_id")
    result.rejections = +result.rejections  # without the zeros
    return result


def _better(event: Event, evidence: Evidence, rejections: Counter[str]) -> tuple[str, str] | None:
    """Return (origin, text) of the first way that gives a reply other than the disliked one."""
    for origin, text in _ways(event, evidence):
        if not text.strip():
            rejections["empty_correction"] += 1
        elif text == event["reply"]:
            rejections["chosen_is_rejected"] += 1
        else:
            return origin, text
    return None


def _ways(event: Event, evidence: Evidence) -> Iterator[tuple[str, str]]:
    if edit := evidence.edits.get(key_of(event)):
        yield "edit", edit["correction"]
    if liked := _liked_successor(event, evidence):
        yield "regeneration", liked["reply"]
    if (review := reviewed(evidence.reviews.get(event["message_id"], []))) is not None:
        yield "review", review


def _liked_successor(event: Event, evidence: Evidence) -> Event | None:
    """Return the newest liked reply, to the same prompt, that replaced the disliked one directly or by steps."""
    user, message = key_of(event)
    reached, front = {message}, [message]
    while front:
        front = [new for old in front for new in evidence.successors.get((user, old), []) if new not in reached]
        reached.update(front)
    liked = [evidence.liked[user, new] for new in reached if (user, new) in evidence.liked]
    return max((e for e in liked if e["prompt"] == event["prompt"]), key=when, default=None)


def _preference(event: Event, origin: str, chosen: str, evidence: Evidence, params: PairsParams) -> Row:
    reasons = evidence.reasons[key_of(event)] | marks_of_reviewers(event, evidence.reviews.get(event["message_id"], []))
    return {
        "id": preference_id(event["prompt"], chosen, event["reply"]),
        "prompt": event["prompt"],
        "chosen": chosen,
        "rejected": event["reply"],
        "origin": origin,
        "objective": "safe" if UNSAFE in reasons else "helpful",
        "weight": getattr(params.weights, origin),
        "user": event["user"],
        "model": event["model"],
        "created_at": event["created_at"],
        "source": "feedback",
        "licence": LICENCE,
    }


def _agreed(rows: Iterable[Row], rejections: Counter[str]) -> list[Row]:
    """Drop duplicates, and both sides of a contradiction: one prompt with the same two replies in both orders."""
    unique: dict[str, Row] = {}
    for row in rows:
        if row["id"] in unique:
            rejections["duplicate"] += 1
        unique.setdefault(row["id"], row)
    kept = [r for r in unique.values() if preference_id(r["prompt"], r["rejected"], r["chosen"]) not in unique]
    rejections["contradicted"] += len(unique) - len(kept)
    return kept


def _unpaired(
    dislikes: list[Event],
    found: dict[Key, tuple[str, str] | None],
    evidence: Evidence,
    params: PairsParams,
    rejections: Counter[str],
) -> list[Event]:
    """Return the disliked events without a pair, and the liked ones whose reply no pair has chosen."""
    used = {(e["user"], found_[1]) for e in dislikes if (found_ := found[key_of(e)]) and found_[0] == "regeneration"}
    liked = [event for event in evidence.liked.values() if (event["user"], event["reply"]) not in used]
    limits = params.alike
    likes = spread(_by_time(liked, "event_id"), lambda event: event["reply"], limits.jaccard, limits.most, rejections)
    alone = [event for event in dislikes if found[key_of(event)] is None]
    return alone + _capped(likes, params.cap_per_user, rejections)


def _spread(rows: list[Row], limits: AlikeParams, rejections: Counter[str]) -> list[Row]:
    """Return pairs of which no more than may choose nearly the same, or answer one question.

    Questions must have the same words: honest ones differ in one, as in "How do I reset the hub?".
    """
    rows = spread(rows, lambda row: row["chosen"], limits.jaccard, limits.most, rejections)
    return spread(rows, lambda row: row["prompt"][-1]["content"], 1.0, limits.most, rejections)


def _refuse(event: Event, refused: Forgotten, rejections: Counter[str]) -> bool:
    if is_refused := refused.holds(event["user"]):
        rejections[REASON] += 1
    return is_refused


def _distinct(events: Iterable[Event], rejections: Counter[str]) -> list[Event]:
    unique: dict[str, Event] = {}
    for event in sorted(events, key=when):
        if event["event_id"] in unique:
            rejections["repeated_event"] += 1
        unique.setdefault(event["event_id"], event)
    return list(unique.values())


def _capped(events: Iterable[Event], cap: int, rejections: Counter[str]) -> list[Event]:
    """Return the events newest first, at most `cap` of a user."""
    kept: list[Event] = []
    count: Counter[str] = Counter()
    for event in sorted(events, key=when, reverse=True):
        count[event["user"]] += 1
        if count[event["user"]] <= cap:
            kept.append(event)
        else:
            rejections["user_cap"] += 1
    return kept


def _by_time(rows: list[Row], identity: str) -> list[Row]:
    return sorted(rows, key=lambda row: (time_of(row), row[identity]))


def read_feedback() -> list[Event]:
    """Return the events of the version that `data/inputs/feedback.json` pins; none where it pins none.

    Raises:
        PinError: the file is missing or damaged, or the lake lacks that version.
    """
    path = settings().inputs / "feedback.json"
    try:
        pin = TablePin.model_validate_json(path.read_text())
    except FileNotFoundError:
        raise PinError(f"{path} is missing; write it first: python -m stages.observe.") from None
    except ValidationError:
        raise PinError(f"{path} is damaged; write it again: python -m stages.observe.") from None
    return [] if pin.version < 0 else conform(read_table(pin), FEEDBACK).to_pylist()


def main() -> None:
    from thumbwheel.tracking import stage_run

    params, events = load_params("pairs", PairsParams), read_feedback()
    with stage_run("pairs", params) as tracked:
        result = make_pairs(events, params, partial(resample, params=params.best_of_n), observed())
        tables = {
            "preferences": write_table("pairs_preferences", to_table(result.preferences, PREFERENCE)),
            "unpaired": write_table("pairs_unpaired", to_table(result.unpaired, FEEDBACK)),
            "queue": write_table("pairs_queue", to_table(result.queue, QUEUED)),
        }
        facts = _facts(result)
        tracked.metrics({f"{name}.{key}": count for name, group in facts.items() for key, count in group.items()})
        tracked.metrics({f"rejected.{reason}": count for reason, count in result.rejections.items()})
    print(f"pairs: {json.dumps(facts)} turned away: {json.dumps(dict(result.rejections))}")
    write_pin(Pin(stage="pairs", tables=tables, rejections=dict(sorted(result.rejections.items())), facts=facts))


def _facts(result: Pairs) -> dict[str, dict[str, int]]:
    origins = Counter(row["origin"] for row in result.preferences)
    objectives = Counter(row["objective"] for row in result.preferences)
    ratings = Counter(opinion_of(event) for event in result.unpaired)
    return {
        "origins": {name: origins[name] for name in ORIGINS if name != "public"},
        "objectives": {name: objectives[name] for name in OBJECTIVES},
        "unpaired": {"down": ratings["down"], "up": ratings["up"]},
    }


if __name__ == "__main__":
    run(main)
