"""How often the gate promotes what it should not, and finds what it should, against "higher mean wins".

    python -m benchmarks.gate_error_rates [TURNS]

Prints Markdown tables and draws benchmarks/gate_error_rates.svg. The gate is the one of params.yaml. The peers' rule
promotes whatever has the higher MT-Bench mean in one run of the judge. "At the limit" puts one criterion exactly where
it must just not pass, with all others plainly passing: the least favourable truth. Behind each rate of ours stands its
95 % interval (Wilson); a rate is called too high only where the whole interval is above alpha.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.simulated_turns import HEARD, QUESTIONS, World, people_points, preference, turn
from eval.criteria import GateRules, Measurement
from eval.gate import decide
from eval.session import SequentialParams
from eval.statistics import sign_flip_test, wilson
from stages.gate import GateParams
from stages.judge import JudgeParams
from thumbwheel.params import load_params

TURNS, SEED, RESAMPLES, PEOPLE = 1000, 23, 1000, 50
PICTURE = Path(__file__).with_suffix(".svg")
FINE = World("", gain=0.8, heldout=1.5, fewer_refusals=-0.25, more_over_refusals=-0.1, less_grounded=-0.3)
"""A candidate that passes each criterion as good as surely, so that the one at its limit alone decides."""
WORLDS = (
    World("no difference at all"),
    World("worse: 0.3 grades", gain=-0.3, heldout=-0.3),
    replace(FINE, name="likelihood at the limit (no better)", heldout=0.0),
    replace(FINE, name="refusals at the limit (10 points fewer)", fewer_refusals=0.1),
    replace(FINE, name="refusals at the limit, 4 x the questions", fewer_refusals=0.1, size=4),
    replace(FINE, name="over-refusal at the limit (15 points more)", more_over_refusals=0.15),
    replace(FINE, name="grounded answers at the limit (0.05 less)", less_grounded=0.05),
    replace(FINE, name="failed answers at the limit (5 %)", failures=0.05),
    replace(FINE, name="test answers learnt, at the limit (0.5 nats)", learnt=0.5),
    replace(FINE, name="template marks at the limit (5 %)", marks=0.05),
    replace(FINE, name="going in circles at the limit (20 points more)", more_circles=0.2),
    replace(FINE, name="20 points fewer refusals", fewer_refusals=0.2),
)
GAINS = (-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
HELDOUT = 0.8
"""Standard deviations of held-out likelihood that a grade's gain comes with."""
SIZES = (1, 4)
OURS = ("this gate", "this gate, 4 x the questions")


@dataclass(frozen=True)
class Rates:
    """Shares of turns: promoted by the gate, left open, stopped; and promoted by the higher mean."""

    promoted: float
    open: float
    stopped: float
    peer: float
    judged: float
    """Questions judged pairwise a turn."""
    turns: int

    def bounds(self) -> tuple[float, float]:
        """Return the 95 % interval of `promoted`."""
        found = wilson(round(self.promoted * self.turns), self.turns, 0.95)
        return found.low, found.high


def main() -> None:
    began, turns = time.monotonic(), int(sys.argv[1]) if len(sys.argv) > 1 else TURNS
    gate = load_params("gate", GateParams)
    rules = GateRules(**gate.model_dump(include=set(GateRules.model_fields)) | {"resamples": RESAMPLES})
    stop = load_params("judge", JudgeParams).sequential
    assert stop is not None, "params.yaml has judge.sequential: null; this compares what it does"
    print(f"{turns} simulated turns a row, alpha {rules.alpha:.0%}, 95 % intervals in brackets.\n")
    worst = [wrong_promotions(rules, stop, turns), judge_alone(rules, stop, turns)]
    curves = power(rules, stop, turns)
    draw(curves, rules.alpha)
    verdict = "at or under" if all(low <= rules.alpha for low in worst) else "NOT everywhere at or under"
    print(f"\nOurs is {verdict} alpha, within the intervals. {PICTURE.name} drawn; {time.monotonic() - began:.0f} s.")


def wrong_promotions(rules: GateRules, stop: SequentialParams, turns: int) -> float:
    """Print candidates that must not be promoted; return the highest lower bound of our rate."""
    _head("candidate that must not be promoted", "ours promotes", "inconclusive", "stopped", "higher mean wins")
    lows = []
    for world in WORLDS:
        found = simulate(world, rules, stop, turns)
        _row(world.name, _share(found), f"{found.open:.1%}", f"{found.stopped:.1%}", f"{found.peer:.1%}")
        lows.append(found.bounds()[0])
    return max(lows)


def simulate(world: World, rules: GateRules, stop: SequentialParams, turns: int) -> Rates:
    """Return how the gate and the peers' rule decide on so many turns of this truth."""
    rng, counts = np.random.default_rng(SEED), {"pass": 0, "inconclusive": 0, "fail": 0}
    peer, judged = 0.0, 0
    for _ in range(turns):
        measured = turn(world, rng, stop)
        counts[decide(measured, HEARD, rules).outcome] += 1
        graded = measured["mt_bench_single"]
        peer += np.mean(graded.candidate) > np.mean(graded.champion)
        judged += len(measured["pairwise_win_rate"].candidate)
    promoted, left_open, stopped = (count / turns for count in counts.values())
    return Rates(promoted, left_open, stopped, peer / turns, judged / turns, turns)


def power(rules: GateRules, stop: SequentialParams, turns: int) -> dict[int, list[Rates]]:
    """Print and return the rates at which candidates of each true gain are promoted, by number of questions."""
    print()
    _head("true gain, grades of 10", *OURS, "higher mean wins", "pairs judged")
    curves: dict[int, list[Rates]] = {size: [] for size in SIZES}
    for gain in GAINS:
        for size in SIZES:
            world = World("", gain=gain, heldout=HELDOUT * gain, size=size)
            curves[size].append(simulate(world, rules, stop, max(100, turns // 4)))
        found = [curves[size][-1] for size in SIZES]
        judged = [f"{one.judged:.0f} of {QUESTIONS * size}" for one, size in zip(found, SIZES, strict=True)]
        _row(f"{gain:+.1f}", *map(_share, found), f"{found[0].peer:.1%}", " and ".join(judged))
    return curves


def judge_alone(rules: GateRules, stop: SequentialParams, turns: int) -> float:
    """Print how often the pairwise criterion calls an equal candidate better, by way of testing; return as above."""
    preferred = [one for one in rules.criteria if one.metric == "pairwise_win_rate"]
    alone = rules.model_copy(update={"criteria": [one.model_copy(update={"required": True}) for one in preferred]})
    equal, longer = World("equal"), World("equal but longer", length_bias=1.0)
    print()
    _head("pairwise judging alone of an equal candidate", "called better", "questions judged")
    lows = []
    for name, measure, ours in (
        ("ours: look after every batch, stop when known", lambda rng: _batches(equal, rng, stop), True),
        ("ours: all questions, one look", lambda rng: _batches(equal, rng, None), True),
        (f"ours: a judge that likes length, {PEOPLE} people beside it", lambda rng: _with_people(longer, rng), True),
        ("not ours: that judge without people", lambda rng: _batches(longer, rng, None), False),
    ):
        hits, judged = _called_better(alone, measure, turns)
        _row(name, _share(Rates(hits / turns, 0, 0, 0, 0, turns)), f"{judged:.0f}")
        lows += [wilson(hits, turns, 0.95).low] if ours else []
    hits = _peeking(equal, rules.alpha, stop.batch, turns)
    _row("not ours: look after every batch with a fixed test", _share(Rates(hits / turns, 0, 0, 0, 0, turns)), "")
    return max(lows)


def _called_better(
    rules: GateRules, measure: Callable[[np.random.Generator], Measurement], turns: int
) -> tuple[int, float]:  # fmt: skip
    rng, hits, judged = np.random.default_rng(SEED), 0, 0
    for _ in range(turns):
        measured = measure(rng)
        hits += decide({"pairwise_win_rate": measured}, HEARD, rules).outcome == "pass"
        judged += len(measured.candidate)
    return hits, judged / turns


def _batches(world: World, rng: np.random.Generator, stop: SequentialParams | None) -> Measurement:
    return preference(people_points(world, rng, 160)[1], stop)


def _with_people(world: World, rng: np.random.Generator) -> Measurement:
    people, judge = people_points(world, rng, 160)
    said: tuple[float | None, ...] = (*map(float, people[:PEOPLE]), *[None] * (len(people) - PEOPLE))
    return replace(preference(judge, None), people=said)


def _peeking(world: World, alpha: float, batch: int, turns: int) -> int:
    rng, hits = np.random.default_rng(SEED), 0
    for _ in range(turns):
        gains = people_points(world, rng, 160)[1] - 0.5
        hits += any(sign_flip_test(gains[:n], rng, 200) <= alpha for n in range(2 * batch, len(gains) + 1, batch))
    return hits


def draw(curves: dict[int, list[Rates]], alpha: float) -> None:
    """Draw the power curves: the rate of promotion over the true gain."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "gate", "font.size": 11, "font.family": "DejaVu Sans"}
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    axes.axvspan(min(GAINS), 0, color="#f3efe6", zorder=0)
    axes.plot(GAINS, [rate.peer for rate in curves[1]], color="#b3261e", ls="--", marker="s", label="higher mean wins")
    for size, label, colour in zip(SIZES, OURS, ("#7fa6dd", "#2456a6"), strict=True):
        low, high = zip(*(rate.bounds() for rate in curves[size]), strict=True)
        axes.fill_between(GAINS, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(GAINS, [rate.promoted for rate in curves[size]], color=colour, marker="o", label=label)
    axes.axhline(alpha, color="#5d6864", lw=1)
    axes.annotate(f"α = {alpha:.0%}", (GAINS[-1], alpha), (0, 4), textcoords="offset points", ha="right")
    axes.annotate("no better:\npromotion is wrong", (min(GAINS) + 0.03, 0.88), color="#5d6864")
    axes.set(xlabel="true gain of the candidate, in grades of 10", ylabel="promoted", ylim=(-0.02, 1.02))
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center right")
    figure.savefig(PICTURE, metadata={"Date": None})


def _share(found: Rates) -> str:
    low, high = found.bounds()
    return f"{found.promoted:.1%} ({low:.1%} to {high:.1%})"


def _head(*names: str) -> None:
    print(f"| {' | '.join(names)} |\n|---|{'---:|' * (len(names) - 1)}")


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
