"""The canary's page: the decision first, then what each criterion shows, and how that came about look by look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.canary import NAMES, Decision, Verdict
from thumbwheel.lake import write_json
from thumbwheel.ledger import Phase
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = Path(__file__).with_name("canary.html.j2")
WIDTH, HEIGHT = 560, 120
"""Of a criterion's picture, in pixels."""
HEADLINES = {"promote": "Promote", "roll_back": "Rolled back", "wait": "Under way"}
PHASES = {"replay": "held-out prompts asked of both arms", "live": "users"}
UNSEEN = Decision("wait", "nothing was seen yet")


@dataclass(frozen=True)
class Look:
    """What was seen at one time."""

    at: str
    phase: Phase
    share: float
    verdicts: tuple[Verdict, ...]


@dataclass
class Page:
    """A canary as its page shows it."""

    candidate: int
    champion: int
    bundle: str
    began: str
    decision: Decision = UNSEEN
    note: str = ""
    looks: list[Look] = field(default_factory=list)

    def add(self, phase: Phase, share: float, verdicts: Sequence[Verdict], decision: Decision) -> None:
        """Take a look, where it saw anything new."""
        self.decision = decision
        last = self.looks[-1] if self.looks else None
        if last is None or (last.phase, last.share, last.verdicts) != (phase, share, tuple(verdicts)):
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self.looks.append(Look(now, phase, share, tuple(verdicts)))

    def end(self, decision: Decision) -> None:
        """Put the decision on top."""
        self.decision = decision

    def metrics(self) -> dict[str, float]:
        """Return the newest look as metrics for the tracker."""
        look = self.looks[-1]
        found = {"share": look.share}
        for one in look.verdicts:
            facts = {name: getattr(one, name) for name in ("canary", "control", "difference", "low", "high")}
            facts |= {"harm_log_capital": one.harm, "safe_log_capital": one.safe, "answers": float(one.count)}
            found |= {f"{look.phase}.{one.metric}.{name}": x for name, x in facts.items() if x is not None}
        return found


@dataclass(frozen=True)
class Picture:
    """A criterion over time: the interval of its difference as a band, its mean as a line, margin and nought."""

    band: str
    line: str
    zero: float
    margin: float


def write_report(page: Page) -> tuple[Path, Path]:
    """Write the page and its numbers under the reports, and return their places."""
    path = settings().reports / "canary.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name("canary.html.part")
    part.write_text(render(page))
    part.replace(path)
    return path, write_json(path.with_suffix(".json"), numbers(page))


def numbers(page: Page) -> dict[str, Any]:
    """Return the page as plain numbers and texts, with its newest look."""
    facts = {name: getattr(page, name) for name in ("candidate", "champion", "bundle", "began", "note")}
    return {**facts, "decision": asdict(page.decision), "looks": [asdict(look) for look in page.looks[-1:]]}


def render(page: Page) -> str:
    """Return the page; every text that is not ours is escaped."""
    phases = list(dict.fromkeys(look.phase for look in page.looks))
    shown = [(phase, _newest(page, phase), pictures(page, phase)) for phase in reversed(phases)]
    return _template().render(
        page=page, headline=HEADLINES[page.decision.outcome], shown=shown, names=NAMES, told=PHASES, width=WIDTH,
        height=HEIGHT, shares=steps(page),
    )  # fmt: skip


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"signed": signed, "plain": plain}
    return environment.from_string(TEMPLATE.read_text())


def steps(page: Page) -> list[tuple[str, float]]:
    """Return when each share of the users was first seen, and the share."""
    found: dict[float, str] = {}
    for look in page.looks:
        if look.phase == "live":
            found.setdefault(look.share, look.at)
    return [(at, share) for share, at in found.items()]


def pictures(page: Page, phase: Phase) -> dict[str, Picture]:
    """Return the picture of each criterion of a phase that has been compared at least twice."""
    looks = [look for look in page.looks if look.phase == phase]
    found: dict[str, Picture] = {}
    for place, verdict in enumerate(looks[-1].verdicts if looks else ()):
        seen = [look.verdicts[place] for look in looks if look.verdicts[place].difference is not None]
        if len(seen) > 1:
            found[verdict.metric] = picture(seen)
    return found


def picture(seen: Sequence[Verdict]) -> Picture:
    """Return where a criterion's interval is drawn over the number of its comparisons."""
    most, margin = max(one.differences for one in seen), seen[0].margin
    reach = max(2 * margin, *(abs(one.difference or 0) for one in seen)) * 1.2

    def x(one: Verdict) -> float:
        return round(WIDTH * one.differences / most, 1)

    def y(value: float | None) -> float:
        return round(HEIGHT / 2 - HEIGHT / 2 * max(-1.0, min(1.0, (value or 0.0) / reach)), 1)

    upper = [f"{x(one)},{y(one.high)}" for one in seen]
    lower = [f"{x(one)},{y(one.low)}" for one in reversed(seen)]
    return Picture(" ".join(upper + lower), " ".join(f"{x(one)},{y(one.difference)}" for one in seen), y(0), y(margin))


def signed(value: float | None) -> str:
    """Return a difference with its sign, and a dash for none."""
    return "–" if value is None or math.isnan(value) else f"{value:+.3f}".replace("-", "−")


def plain(value: float | None) -> str:
    """Return a mean, and a dash for none."""
    return "–" if value is None else f"{value:.3f}"


def _newest(page: Page, phase: Phase) -> Look:
    return [look for look in page.looks if look.phase == phase][-1]
