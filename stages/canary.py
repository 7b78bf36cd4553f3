"""Let an approved candidate answer a share of the users, and promote it or roll it back by what is seen.

    python -m stages.canary --approved-by NAME

Ends with status 0 where the candidate may become champion, and with 99, a skip in Airflow, where it was rolled back.
Killed at any point, the next run goes on: what was seen is in the ledger, and what was decided in the state folder.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from eval.canary import Decision
from stages import deploy, promote
from stages.arms import engines, service
from stages.arms.replay import Replay, held_out_prompts
from stages.arms.report import write_report
from stages.arms.watch import Canary, CanaryParams, State, Step, begun, taken_up
from thumbwheel import tracking
from thumbwheel.arms import CANARY, Arm, Routing, read_routing
from thumbwheel.command import run
from thumbwheel.lake import read_pin
from thumbwheel.params import load_params
from thumbwheel.release import Release, Released, is_released, read_release, write_release

logger = logging.getLogger(__name__)

ROLLED_BACK = 99
"""Status of a run that rolled back; Airflow shows the task as skipped, and skips the promotion."""


def main() -> None:
    """Watch the approved candidate, unless there is nothing to compare it with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--approved-by", required=True, metavar="NAME")
    approved_by = parser.parse_args().approved_by
    params, package, release = load_params("canary", CanaryParams), read_pin("package"), read_release()
    if is_released(release, package):
        logger.info("version %s is champion already; nothing to watch", package.facts["version"])
        return
    new = promote.candidate(read_pin("register"), package, approved_by)
    if release is None or (why := straight_through(new, release, params)):
        reason = "it is the first release" if release is None else why
        logger.info("version %d goes straight through, without a canary: %s", new.version, reason)
        return
    with tracking.stage_run("canary", params) as tracked:
        decision = watched(new, release, params, tracked)
    logger.info("%s: %s", {"promote": "may be promoted", "roll_back": "rolled back"}[decision.outcome], decision.reason)
    if decision.outcome == "roll_back":
        sys.exit(ROLLED_BACK)


def straight_through(new: Released, release: Release, params: CanaryParams) -> str | None:
    """Return why there is nothing to compare a candidate with, None where there is."""
    code = deploy.running_code()
    if not params.enabled:
        return "canary.enabled is false"
    if new.version == release.version:
        return "it is the champion with other code or settings"
    if code is None or deploy.served() != release.champion() or not service.is_ready(release.champion()):
        return "no service answers with the champion"
    if read_routing() is None or not (engines.knows_arms(code) and engines.knows_arms(new)):
        return "the code of the running service, or of the candidate, knows no arms"
    return None


def watched(new: Released, release: Release, params: CanaryParams, tracked: tracking.StageRun) -> Decision:
    """Watch a candidate to its end and return the decision; one that was rolled back is gone from the service then.

    Raises:
        ReleaseError: its engine does not come up; the champion goes on answering.
    """
    canary = Canary(taken_up(new) or begun(new), release.champion(), params, tracked)
    canary.keep()
    canary.ledger.forget_others(canary.state.salt)
    if canary.state.outcome is None:
        join(canary, new)
        decision = decided(canary)
        canary.keep(outcome=decision.outcome, reason=decision.reason)
    decision = Decision(canary.state.outcome or "roll_back", canary.state.reason)
    canary.page.end(decision)
    for path in write_report(canary.page):
        tracked.artifact(path)
    tracked.tag("outcome", decision.outcome)
    if decision.outcome == "roll_back":
        take_back(new.version, new.bundle, canary.state.reason)
    return decision


def join(canary: Canary, new: Released) -> None:
    """Let the candidate's engine stand beside the service, started where it does not run, with the share it has."""
    routing, state = read_routing(), canary.state
    arm = routing.canary if routing and routing.salt == state.salt else None
    if arm is None or not engines.is_ready(arm):
        engines.stop_engine(new.version)
        arm = engines.start_engine(new)
    engines.change_routing(lambda before: with_canary(before, arm, state))
    service.wait_listed(canary.models[CANARY])


def with_canary(routing: Routing, arm: Arm, state: State) -> Routing:
    """Return the routing with a canary beside the champion."""
    facts = {"canary": arm, "share": state.share, "salt": state.salt, "began": state.began}
    return routing.model_copy(update=facts)


def decided(canary: Canary) -> Decision:
    """Return the decision: harm in the replay ends it; then users decide, or the replay where nobody asks anything."""
    ask_both(canary)
    replayed = canary.look("replay", may_promote=True)
    if replayed.outcome == "roll_back" or canary.is_withdrawn():
        return replayed if replayed.outcome == "roll_back" else withdrawn()
    if not canary.state.steps and canary.is_idle():
        canary.page.note = "Nobody was there: the replay of held-out prompts decided, and of thumbs nothing is known."
        return replayed if replayed.outcome == "promote" else by_default(replayed, canary, "after the replay")
    return watch_users(canary)


def ask_both(canary: Canary) -> None:
    """Ask held-out prompts of both arms until all is settled, or the time for it is over."""

    def is_settled() -> bool:
        return canary.is_withdrawn() or canary.see("replay", may_promote=True).outcome != "wait"

    prompts, salt = held_out_prompts(canary.params.replay.prompts), canary.state.salt
    logger.info("asking up to %d held-out prompts of both arms", len(prompts))
    url, models = service.base_url(), canary.models
    Replay(models, canary.params.replay, url, salt, canary.ledger, is_settled).run(prompts)


def watch_users(canary: Canary) -> Decision:
    """Return what the users' answers show, the share rising step by step; what is open at the end by default."""
    params = canary.params
    if not canary.state.steps:
        set_share(canary, params.steps[0])
    while not canary.is_withdrawn():
        at, is_enough = len(canary.state.steps), canary.answers() >= params.min_answers
        decision = canary.look("live", may_promote=is_enough and at == len(params.steps))
        if decision.outcome != "wait":
            return decision
        if over := canary.over():
            return by_default(decision, canary, over)
        if is_enough and at < len(params.steps):
            set_share(canary, params.steps[at])
        time.sleep(params.poll_seconds)
    return withdrawn()


def set_share(canary: Canary, share: float) -> None:
    """Give the canary another share, unless it was taken back meanwhile."""
    canary.keep(steps=(*canary.state.steps, Step(share=share, since=time.time())))
    salt = canary.state.salt
    engines.change_routing(lambda now: now.model_copy(update={"share": share}) if now.salt == salt else now)
    logger.info("the canary answers %g %% of the users", 100 * share)


def by_default(seen: Decision, canary: Canary, when: str) -> Decision:
    """Return the decision of the parameters where the evidence gives none."""
    return Decision(canary.params.undecided, f"{seen.reason} {when}; canary.undecided is {canary.params.undecided}")


def withdrawn() -> Decision:
    """Return the decision on a canary that somebody else ended."""
    return Decision("roll_back", "it was taken back by hand, or the service was stopped")


def leave(version: int) -> None:
    """Send a candidate's users to the champion, let it end the answers that it has begun, and stop its engine."""
    with engines.changing_routing() as routing:
        gone = routing.canary if routing and routing.canary and routing.canary.version == version else None
        if routing and gone:
            engines.write_routing(routing.without_canary())
    if gone:
        engines.drain(gone)
    engines.stop_engine(version)


def take_back(version: int, bundle: str, reason: str) -> None:
    """Take a candidate out of the service, and remember that it was, so that no option releases it again."""
    leave(version)
    release = read_release()
    if release and bundle not in release.rolled_back and bundle != release.bundle:
        write_release(release.model_copy(update={"rolled_back": (*release.rolled_back, bundle)}))
    tracking.client().set_model_version_tag(tracking.MODEL, str(version), "canary", f"rolled back: {reason}"[:4000])


if __name__ == "__main__":
    run(main)
