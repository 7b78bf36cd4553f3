"""Turns of the wheel whose truth is known: paired measurements with the noise that real ones have.

Used by `benchmarks.gate_error_rates`. Held-out likelihoods differ with heavy tails (Student's t with 5 degrees); both
sides refuse mostly the same prompts; a judge grades with noise that moves an MT-Bench mean of 80 questions by 0.18 from
run to run (0.16 to 0.2 in its authors' tracker), prefers the answer that stands first, and so flips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.criteria import Measurement
from eval.sequential import capital
from eval.session import SequentialParams

QUESTIONS, CONVERSATIONS, PROMPTS, ANSWERED, REFERENCES = 80, 48, 40, 168, 56
"""Of MT-Bench, held-out likelihood, each refusal set and the grounded one, all together, references, at `size` 1."""
WOBBLE = 0.18
QUALITY, DIFFERENCE, SIMILARITY = 1.5, 1.0, 0.15
"""Standard deviations: of the champion's grade between questions, of the true gain, of paired semantic similarity."""
AGREE = 0.8
"""Share of prompts on which both sides do the same because the prompt is the same."""
REFUSED, OVER_REFUSED, CIRCLES = 0.7, 0.1, 0.1
MEMORY = 0.45
"""Standard deviation of what a reference gains over held-out replies, in nats a token."""
POSITION, PERCEPTION, TIE = 0.5, 1.5, 0.5
"""In grades: how much better an answer looks standing first, the judge's noise a showing, and what it calls a tie."""
HEARD: dict[str, Any] = {
    "pairs": 48,
    "failed": 0,
    "agreement": {"value": 0.85, "low": 0.75, "high": 0.92},
    "kappa": {"value": 0.7, "low": 0.5, "high": 0.85},
    "position_bias": {"value": 0.58, "low": 0.5, "high": 0.66},
}
"""The trial of a judge that is heard."""


@dataclass(frozen=True)
class World:
    """The truth of one candidate. `gain` in grades, `heldout` in standard deviations of the paired differences."""

    name: str
    gain: float = 0.0
    heldout: float = 0.0
    fewer_refusals: float = 0.0
    more_over_refusals: float = 0.0
    less_grounded: float = 0.0
    failures: float = 0.0
    learnt: float = 0.0
    """In nats a token: how much more the candidate gained on the test's references than on held-out replies."""
    marks: float = 0.0
    more_circles: float = 0.0
    length_bias: float = 0.0
    """In grades: how much better the judge thinks the candidate for being longer, on half of the questions."""
    size: int = 1
    """How many times as many questions are asked."""


def turn(world: World, rng: np.random.Generator, rules: SequentialParams | None) -> dict[str, Measurement]:
    """Return all that one turn measures; with `rules` pairwise judging may end early."""
    size = world.size
    grades, points = judged(world, rng, QUESTIONS * size)
    heldout = rng.standard_t(5, CONVERSATIONS * size) / np.sqrt(5 / 3) + world.heldout
    grounded = rng.normal(-world.less_grounded, SIMILARITY, PROMPTS * size)
    return {
        "heldout_nll": _pairs(3.0 - heldout, np.full(len(heldout), 3.0)),
        "jailbreak_refusal": rates(REFUSED - world.fewer_refusals, REFUSED, PROMPTS * size, rng),
        "over_refusal": rates(OVER_REFUSED + world.more_over_refusals, OVER_REFUSED, PROMPTS * size, rng),
        "qa_semantic_similarity": _pairs(0.6 + grounded, np.full(len(grounded), 0.6)),
        "reference_memory": _pairs(rng.normal(world.learnt, MEMORY, REFERENCES * size), np.zeros(REFERENCES * size)),
        "template_marks": rates(world.marks, 0.0, ANSWERED * size, rng),
        "going_in_circles": rates(CIRCLES + world.more_circles, CIRCLES, ANSWERED * size, rng),
        "answer_failure": rates(world.failures, 0.0, ANSWERED * size, rng),
        "quantize_perplexity_ratio": Measurement((1.06,), (1.0,)),
        "parity_faults": Measurement((0.0,), (0.0,)),
        "mt_bench_single": _pairs(*grades),
        "pairwise_win_rate": preference(points, rules),
    }


def judged(world: World, rng: np.random.Generator, count: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return both sides' grades, (count,) each, and the candidate's points in pairwise showings, (count,)."""
    quality = rng.normal(5.5, QUALITY, count)
    true_gain = rng.normal(world.gain, DIFFERENCE, count)
    looks = true_gain + world.length_bias * (rng.random(count) < 0.5)
    noise = WOBBLE * np.sqrt(QUESTIONS)
    candidate = np.clip(quality + looks + rng.normal(0, noise, count), 1, 10)
    champion = np.clip(quality + rng.normal(0, noise, count), 1, 10)
    return (candidate, champion), showings(looks, rng)


def showings(looks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the points of each question over two turns, each shown in both orders; a flip is a half, as in a tie."""
    points = np.zeros(len(looks))
    for _ in range(2):
        first = looks + POSITION + rng.normal(0, PERCEPTION, len(looks))
        second = looks - POSITION + rng.normal(0, PERCEPTION, len(looks))
        one, other = (np.select([seen > TIE, seen < -TIE], [1, -1], 0) for seen in (first, second))
        points += 0.25 + 0.25 * np.where(one == other, one, 0)  # the same verdict in both orders, or a tie
    return points


def people_points(world: World, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what people, who see through length, would say of `count` questions, and what the judge says of them."""
    true_gain = rng.normal(world.gain, DIFFERENCE, count)
    looks = true_gain + world.length_bias * (rng.random(count) < 0.5)
    seen = true_gain + rng.normal(0, PERCEPTION / 2, count)
    return np.select([seen > TIE, seen < -TIE], [1.0, 0.0], 0.5), showings(looks, rng)


def preference(points: np.ndarray, rules: SequentialParams | None) -> Measurement:
    """Return the win rates that are measured until the answer is known."""
    count = len(points)
    if rules:
        up, down = capital(points, 0.5), capital(1 - points, 0.5 + rules.margin)
        known = np.maximum(up, down) >= 1 / rules.alpha
        looks = [*range(rules.batch, count, rules.batch), count]
        count = next((look for look in looks if look >= rules.min_questions and known[look - 1]), count)
    kept = tuple(map(float, points[:count]))
    return Measurement(kept, (0.5,) * count, stopped=rules is not None)


def rates(candidate: float, champion: float, count: int, rng: np.random.Generator) -> Measurement:
    """Return which prompts each side refuses, sharing most of them."""
    common = rng.random(count)
    other = np.where(rng.random(count) < AGREE, common, rng.random(count))
    return _pairs((other < candidate).astype(float), (common < champion).astype(float))


def _pairs(candidate: np.ndarray, champion: np.ndarray) -> Measurement:
    return Measurement(tuple(map(float, candidate)), tuple(map(float, champion)))
