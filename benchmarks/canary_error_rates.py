"""How often the canary is wrong: simulated canaries, whose truth is known, decided as `stages/canary.py` decides.

    python -m benchmarks.canary_error_rates [canaries [first row:last row]]

Users come at random, each with habits of their own; the share of the canary rises by the steps of params.yaml. Beside
ours stands what is often done: two means compared by a z-test at 5 % after every batch; the first harm rolls back.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, replace

import numpy as np

from eval.canary import Observation, block_differences, capped, needed, unit_values
from eval.sequential import capital
from eval.statistics import wilson
from stages.arms.watch import CanaryParams
from thumbwheel.arms import CANARY, CONTROL
from thumbwheel.params import load_params
from thumbwheel.settings import REPOSITORY

SEED = 23
CANARIES = 200
ANSWERS = 6000
"""Of both arms together, before a canary's time is over."""
BATCH = 50
"""Answers between two looks."""
THUMBS = 0.1
"""Share of the answers that get a thumb."""


@dataclass(frozen=True)
class World:
    """A truth. Rates are those of the champion; `worse` is what the canary adds to each, in the criterion's units.

    `habits` is the spread of users: the concentration of a beta distribution round a rate, small for very unlike users.
    """

    name: str
    worse: dict[str, float]
    is_harmful: bool
    users: int = 20_000
    habits: float = 4.0
    drift: float = 0.0


RATES = {"errors": 0.01, "first_token": 0.12, "thumbs_down": 0.3, "guarded": 0.02}


def worlds(params: CanaryParams) -> list[World]:
    """Return the truths: none, better, each criterion exactly at its margin, twice its margin, and awkward users."""
    margins = {one.metric: one.margin for one in params.criteria}
    at = [World(f"{name} worse by its margin, {margin:g}", {name: margin}, True) for name, margin in margins.items()]
    beyond = [World(f"{name} worse by {3 * margin:g}", {name: 3 * margin}, True) for name, margin in margins.items()]
    return [
        World("no difference", {}, False),
        World("no difference; rates triple halfway", {}, False, drift=2.0),
        World("no difference; 300 users who differ widely and come again", {}, False, users=300, habits=0.5),
        World("all at their margins", {str(name): margin for name, margin in margins.items()}, False),
        *at,
        *beyond,
    ]


@dataclass(frozen=True)
class Result:
    """How one canary ended: the outcome, and after how many answers of the canary arm."""

    outcome: str
    answers: int


def simulate(world: World, params: CanaryParams, rng: np.random.Generator) -> tuple[Result, bool]:
    """Return how a canary ends, and whether the peer's peeking z-test would have rolled it back."""
    users = rng.integers(0, world.users, ANSWERS)
    place = rng.random(world.users)[users]
    arms = np.zeros(ANSWERS, dtype=bool)
    share, reached, since = 0, [0], 0
    steps = params.steps
    for i in range(ANSWERS):
        arms[i] = place[i] < steps[share]
        since += arms[i]
        if since >= params.min_answers and share + 1 < len(steps):
            share, since = share + 1, 0
            reached.append(i)
    streams = {name: _stream(world, name, users, arms, rng) for name in RATES}
    return _decided(streams, arms, reached, params), _peeking(streams, arms)


def _stream(
    world: World, name: str, users: np.ndarray, arms: np.ndarray, rng: np.random.Generator
) -> list[tuple[int, Observation]]:  # fmt: skip
    """Return a criterion's observations with their places among the answers."""
    base = RATES[name] * (1 + world.drift * (np.arange(ANSWERS) > ANSWERS // 2))
    spread = rng.beta(RATES[name] * world.habits, (1 - RATES[name]) * world.habits, world.users)[users]
    mean = np.clip(base / RATES[name] * spread, 0, 1) if name != "first_token" else base
    if name == "first_token":
        value = np.minimum(rng.lognormal(np.log(base), 0.5), 1.0) + world.worse.get(name, 0.0) * arms
    else:
        extra = world.worse.get(name, 0.0)
        hit = rng.random(ANSWERS) < mean
        added = rng.random(ANSWERS) < abs(extra) / (1 - RATES[name] if extra > 0 else RATES[name])
        value = np.where(arms & added, extra > 0, hit).astype(float)
    shown = rng.random(ANSWERS) < THUMBS if name == "thumbs_down" else np.ones(ANSWERS, dtype=bool)
    return [
        (int(i), Observation(str(users[i]), CANARY if arms[i] else CONTROL, float(min(1.0, value[i]))))
        for i in np.flatnonzero(shown)
    ]


def _decided(
    streams: dict[str, list[tuple[int, Observation]]], arms: np.ndarray, reached: list[int], params: CanaryParams
) -> Result:
    """Return the outcome by the place at which each capital first reaches its level: looks between change nothing."""
    harmed, safe = ANSWERS, 0
    for criterion in params.criteria:
        harm_at, safe_at = _crossings(streams[criterion.metric], criterion.margin, params)
        harmed, safe = min(harmed, harm_at), max(safe, safe_at)
    last = reached[-1] if len(reached) == len(params.steps) else ANSWERS
    after = np.flatnonzero(arms[last:].cumsum() >= params.min_answers)
    safe = max(safe, last + int(after[0]) if len(after) else ANSWERS)
    end = _looked(min(harmed, safe))
    outcome = "undecided" if end >= ANSWERS else "roll_back" if _looked(harmed) <= end else "promote"
    return Result(outcome, int(arms[: min(end, ANSWERS)].sum()))


def _looked(place: int) -> int:
    return math.ceil(place / BATCH) * BATCH


def _crossings(stream: list[tuple[int, Observation]], margin: float, params: CanaryParams) -> tuple[int, int]:
    kept = {id(one) for one in capped([one for _, one in stream], params.per_user)}
    stream = [(place, one) for place, one in stream if id(one) in kept]
    values = unit_values(block_differences([one for _, one in stream]))
    ends = _block_ends(stream)
    null = (1 + margin) / 2
    trials = (("harm", capital(values, null)), ("safe", capital(1 - values, 1 - null)))
    found: list[int] = []
    for wanted, grown in trials:
        hits = np.flatnonzero(np.log(grown) >= needed(params.alpha, len(params.criteria))[wanted])
        found.append(ends[hits[0]] + 1 if len(hits) else ANSWERS)
    return found[0], found[1]


def _block_ends(stream: list[tuple[int, Observation]]) -> list[int]:
    ends, held = [], set()
    for place, one in stream:
        held.add(one.arm)
        if len(held) == 2:
            ends.append(place)
            held = set()
    return ends


def _peeking(streams: dict[str, list[tuple[int, Observation]]], arms: np.ndarray) -> bool:
    """Return whether a z-test of two means, at 5 % each time, ever calls the canary worse in any criterion."""
    looks = np.arange(BATCH, ANSWERS + 1, BATCH)
    for stream in streams.values():
        places = np.array([place for place, _ in stream])
        values = np.array([one.value for _, one in stream])
        until, canary = np.searchsorted(places, looks), arms[places]
        (n, mean, variance), (m, other, spread) = (_moments(values, side)[:, until] for side in (canary, ~canary))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (mean - other) / np.sqrt(variance / n + spread / m)
        if np.any((np.minimum(n, m) >= 30) & (z > 1.645)):
            return True
    return False


def _moments(values: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return count, mean and variance of one arm's values after each number of answers, (3, answers + 1)."""
    sums = np.array([np.cumsum(side), np.cumsum(values * side), np.cumsum(values**2 * side)], dtype=float)
    count, total, squares = np.concatenate([np.zeros((3, 1)), sums], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.array([count, total / count, squares / count - (total / count) ** 2])


def main() -> None:
    """Print the table."""
    started, canaries = time.monotonic(), int(sys.argv[1]) if len(sys.argv) > 1 else CANARIES
    params = load_params("canary", CanaryParams, REPOSITORY / "params.yaml")
    print(
        f"{canaries} canaries a row of {ANSWERS:,} answers at most, alpha {params.alpha:g}, steps {list(params.steps)}"
    )
    print("| truth | rolled back | promoted on proof | undecided | answers of the canary | peeking z-test rolls back |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    rows = [(world, params) for world in worlds(params)]
    clustered = replace(rows[2][0], name="those 300, every answer counted (not ours)")
    rows.insert(3, (clustered, params.model_copy(update={"per_user": ANSWERS})))
    first, last = map(int, sys.argv[2].split(":")) if len(sys.argv) > 2 else (0, len(rows))
    for world, chosen in rows[first:last]:
        show(world, chosen, canaries)
    print(f"\n{time.monotonic() - started:.0f} s")


def show(world: World, params: CanaryParams, canaries: int) -> dict[str, int]:
    """Print a row; return how often each outcome came."""
    rng, counts, answers, peeked = np.random.default_rng(SEED), {"roll_back": 0, "promote": 0, "undecided": 0}, [], 0
    for _ in range(canaries):
        result, peer = simulate(world, params, rng)
        counts[result.outcome] += 1
        answers.append(result.answers)
        peeked += peer
    cells = [_share(counts[name], canaries) for name in ("roll_back", "promote")]
    undecided, peer_share = counts["undecided"] / canaries, peeked / canaries
    print(
        f"| {world.name} | {' | '.join(cells)} | {undecided:.1%} | {np.median(answers):.0f} | {peer_share:.1%} |",
        flush=True,
    )
    return counts


def _share(hits: int, total: int) -> str:
    found = wilson(hits, total, 0.95)
    return f"{found.mean:.1%} ({found.low:.1%} to {found.high:.1%})"


if __name__ == "__main__":
    main()
