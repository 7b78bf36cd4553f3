"""A canary under way: what was decided, on disk; what was seen, in the ledger; and what both say of the criteria."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from eval.canary import Criterion, Decision, Verdict, assess, comparison, decide, observed
from stages.arms.replay import ReplayParams
from stages.arms.report import Page, write_report
from thumbwheel.arms import CANARY, CONTROL, ledger_path, read_routing
from thumbwheel.lake import write_json
from thumbwheel.ledger import Ledger, Phase
from thumbwheel.outbox import Outbox
from thumbwheel.params import Params
from thumbwheel.release import Released
from thumbwheel.settings import settings
from thumbwheel.tracking import MODEL, StageRun


class CanaryParams(Params):
    """How a canary is watched, and what it may not make worse; see params.yaml."""

    enabled: bool
    steps: tuple[float, ...] = Field(min_length=1)
    min_answers: int = Field(ge=1)
    max_minutes: float = Field(gt=0)
    idle_minutes: float = Field(gt=0)
    poll_seconds: float = Field(gt=0)
    undecided: Literal["promote", "roll_back"]
    per_user: int = Field(ge=1)
    alpha: float = Field(gt=0, lt=1)
    replay: ReplayParams
    criteria: tuple[Criterion, ...] = Field(min_length=1)


class Step(Params):
    """A share of the users, and since when, in seconds since the epoch."""

    share: float
    since: float


class State(Params):
    """A canary as far as it has come; `offset` is the place in the outbox after which its thumbs come."""

    bundle: str
    version: int
    salt: str
    began: str
    offset: int
    steps: tuple[Step, ...] = ()
    outcome: Literal["promote", "roll_back"] | None = None
    reason: str = ""

    @property
    def share(self) -> float:
        """Return the share of the users whom the canary answers."""
        return self.steps[-1].share if self.steps else 0.0


class Canary:
    """One canary: its evidence, its state, its report."""

    def __init__(self, state: State, champion: Released, params: CanaryParams, tracked: StageRun) -> None:
        self.state, self.params, self._tracked = state, params, tracked
        self.ledger, self._outbox = Ledger(ledger_path()), Outbox(settings().outbox_path)
        names = {CANARY: state.version, CONTROL: champion.version}
        self.models = {arm: f"{MODEL}/{version}" for arm, version in names.items()}
        self.page = Page(state.version, champion.version, state.bundle, state.began)
        self._told = 0

    def keep(self, **changed: object) -> None:
        """Change the state, on disk first."""
        state = self.state.model_copy(update=changed)
        write_json(state_path(), state.model_dump())
        self.state = state

    def verdicts(self, phase: Phase) -> list[Verdict]:
        """Return what is known of every criterion in a phase."""
        params, entries = self.params, self.ledger.entries(self.state.salt, phase)
        thumbs = thumbs_after(self._outbox, self.state.offset) if phase == "live" else []
        found = []
        for criterion in params.criteria:
            seen = observed(criterion, entries, thumbs, params.per_user)
            found.append(assess(criterion, seen, comparison(phase)(seen), params.alpha, len(params.criteria)))
        return found

    def look(self, phase: Phase, may_promote: bool) -> Decision:
        """See a phase, report it, and return what it calls for."""
        decision = self.see(phase, may_promote)
        if len(self.page.looks) > self._told:
            self._told = len(self.page.looks)
            self._tracked.metrics(self.page.metrics(), step=self._told)
        write_report(self.page)
        return decision

    def see(self, phase: Phase, may_promote: bool) -> Decision:
        """Take a look at a phase and return what it calls for."""
        verdicts = self.verdicts(phase)
        decision = decide(verdicts, may_promote)
        self.page.add(phase, self.state.share, verdicts, decision)
        return decision

    def answers(self) -> int:
        """Return how many answers of the canary counted since its share last rose."""
        since = self.state.steps[-1].since
        entries = self.ledger.entries(self.state.salt, "live")
        return sum(entry.arm == CANARY and entry.at >= since for entry in entries)

    def over(self) -> str | None:
        """Return why users are waited for no longer, None where they are."""
        params = self.params
        if time.time() - self.state.steps[0].since > params.max_minutes * 60:
            return f"after {params.max_minutes:g} minutes"
        return f"and nobody asks anything for {params.idle_minutes:g} minutes" if self.is_idle() else None

    def is_idle(self) -> bool:
        """Tell whether no user is there."""
        idle = self.ledger.idle_seconds()
        return idle is None or idle > self.params.idle_minutes * 60

    def is_withdrawn(self) -> bool:
        """Tell whether somebody took the canary back by hand, or stopped the service."""
        routing = read_routing()
        return routing is None or routing.canary is None or routing.salt != self.state.salt


def state_path() -> Path:
    """Return where the state of the canary is kept."""
    return settings().state_dir / "canary.json"


def taken_up(new: Released) -> State | None:
    """Return the state of a canary of this candidate that was not ended by a roll-back, None where there is none."""
    try:
        state = State.model_validate_json(state_path().read_text())
    except (FileNotFoundError, ValidationError):
        return None
    is_same = (state.bundle, state.version) == (new.bundle, new.version)
    return state if is_same and state.outcome != "roll_back" else None


def ongoing() -> State | None:
    """Return the state of the canary that answers users or a replay now, None where none does."""
    routing = read_routing()
    try:
        state = State.model_validate_json(state_path().read_text())
    except (FileNotFoundError, ValidationError):
        return None
    return state if routing and routing.canary and routing.salt == state.salt else None


def begun(new: Released) -> State:
    """Return the state of a canary that begins now."""
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    outbox = Outbox(settings().outbox_path)
    offset = 0
    while rows := outbox.read(offset):
        offset = rows[-1][0]
    outbox.close()
    salt = f"{new.bundle[:12]}-{began}"
    return State(bundle=new.bundle, version=new.version, salt=salt, began=began, offset=offset)


def thumbs_after(outbox: Outbox, offset: int) -> list[tuple[str, bool]]:
    """Return message id, and whether the thumb points down, of the thumbs after an offset, as they came."""
    found: list[tuple[str, bool]] = []
    while rows := outbox.read(offset):
        offset = rows[-1][0]
        found += [(event["message_id"], event["rating"] == "down") for _, event in rows if event["rating"]]
    return found
