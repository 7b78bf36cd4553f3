"""A canary from its start to its end, over a served champion and a candidate's engine started from its Bento."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from stages import canary, deploy, promote, rollback
from stages.arms import engines, service
from tests.stages.arms.conftest import Users, World
from tests.waiting import eventually
from thumbwheel.arms import CANARY, CONTROL
from thumbwheel.errors import ReleaseError
from thumbwheel.lake import read_pin
from thumbwheel.release import next_step
from thumbwheel.settings import settings


def listed() -> str:
    return service.listed()[0]


def killed(seconds: float) -> None:
    raise KeyboardInterrupt


def report() -> dict[str, object]:
    return dict(json.loads((settings().reports / "canary.json").read_text()))


def test_where_nobody_is_there_a_replay_promotes_and_the_switch_needs_no_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.candidate()
    assert world.watch() == 0
    assert (world.state.outcome, world.state.steps) == ("promote", ())
    assert "nothing can be said of thumbs down" in world.state.reason
    assert "Nobody was there" in (settings().reports / "canary.html").read_text()
    warm = world.engines()

    monkeypatch.setattr("sys.argv", ["promote", "--approved-by", "Ada"])
    promote.main()
    deploy.deploy()
    assert (listed(), world.ask()["model"]) == ("thumbwheel-chat/2", "thumbwheel-chat/2")
    assert world.engines() == warm
    assert (world.routing.champion.version, world.routing.canary) == (2, None)
    assert world.routing.previous is not None
    assert deploy.served() == world.release.champion()

    with pytest.raises(SystemExit) as ended:
        rollback.main()
    assert ended.value.code == 0
    assert (listed(), world.ask()["model"]) == ("thumbwheel-chat/1", "thumbwheel-chat/1")
    assert (world.release.version, world.routing.champion.version) == (1, 1)
    assert world.routing.previous is not None
    assert world.routing.previous.version == 2
    assert world.engines() == warm


def test_a_candidate_whose_engine_breaks_is_rolled_back_by_the_replay_and_no_option_releases_it_again(
    world: World,
) -> None:
    bundle = world.candidate("breaks")
    assert world.watch() == canary.ROLLED_BACK
    assert "answers that break off" in world.state.reason
    assert (world.routing.canary, world.engines()) == (None, set())
    assert listed() == "thumbwheel-chat/1"
    assert bundle in world.release.rolled_back
    assert next_step("yes", "pass", read_pin("package"), world.release)[0] == "keep_champion"
    assert world.tracker.tags["thumbwheel-chat/2.canary"].startswith("rolled back: answers that break off")


def test_users_are_watched_while_the_share_rises_and_thumbs_roll_back(world: World) -> None:
    world.candidate()
    with Users(world, lambda answer: "down" if answer["arm"] == CANARY else "up") as users:
        assert eventually(lambda: users.arms)
        assert world.watch() == canary.ROLLED_BACK
    assert users.arms == {CONTROL: {"thumbwheel-chat/1"}, CANARY: {"thumbwheel-chat/2"}}
    assert "thumbs down" in world.state.reason
    assert world.state.steps[0].share == 0.3
    assert "<polyline" in (settings().reports / "canary.html").read_text()


def test_a_good_candidate_is_promoted_at_the_last_share(world: World) -> None:
    world.candidate()
    with Users(world) as users:
        assert eventually(lambda: users.arms)
        assert world.watch() == 0
    assert [step.share for step in world.state.steps] == [0.3, 0.6]
    assert world.state.reason.startswith("no criterion is worse")
    assert report()["note"] == ""
    assert world.tracker.tags["outcome"] == "promote"
    assert world.tracker.artifacts == ["canary.html", "canary.json"]
    assert world.tracker.seen["live.errors.difference"] == 0
    assert world.tracker.seen["share"] == 0.6


def test_a_watch_that_was_killed_is_taken_up_with_the_same_users_engine_and_evidence(world: World) -> None:
    world.candidate()
    with Users(world) as users, world.patch.context() as patch:
        assert eventually(lambda: users.arms)
        patch.setattr(canary, "time", SimpleNamespace(time=time.time, sleep=killed))
        with pytest.raises(KeyboardInterrupt):
            world.watch()
        patch.undo()
        before, alive, salt = world.state, world.engines(), world.routing.salt
        assert before.outcome is None
        world.patch.setattr("sys.argv", ["canary", "--approved-by", "Ada"])
        assert world.watch() == 0
    assert (world.state.salt, world.state.steps[: len(before.steps)]) == (salt, before.steps)
    assert world.engines() == alive
    assert world.watch() == 0


def test_a_roll_back_while_the_canary_answers_takes_back_the_canary_and_leaves_the_champion(world: World) -> None:
    bundle = world.candidate()
    world.options(criteria=[{"metric": "errors", "margin": 0.0001, "scale": 1}], poll_seconds=0.05)
    rolled: list[float] = []

    def by_hand(seconds: float) -> None:
        rolled.append(seconds)
        rollback.main()

    with Users(world) as users:
        assert eventually(lambda: users.arms)
        world.patch.setattr(canary, "time", SimpleNamespace(time=time.time, sleep=by_hand))
        assert world.watch() == canary.ROLLED_BACK
    assert len(rolled) == 1
    assert "taken back by hand" in world.state.reason
    assert (world.release.version, listed(), world.engines()) == (1, "thumbwheel-chat/1", set())
    assert bundle in world.release.rolled_back


@pytest.mark.parametrize(("undecided", "status"), [("promote", 0), ("roll_back", canary.ROLLED_BACK)])
def test_what_the_evidence_leaves_open_the_parameters_decide_and_the_report_says_so(
    world: World, undecided: str, status: int
) -> None:
    world.candidate()
    world.options(undecided=undecided, replay={"prompts": 3, "max_tokens": 4, "concurrency": 1, "seconds": 60})
    assert world.watch() == status
    assert "not settled" in world.state.reason
    assert f"canary.undecided is {undecided}" in str(report()["decision"])


def test_a_candidate_that_does_not_come_up_is_named_with_its_log_and_the_champion_goes_on(world: World) -> None:
    world.candidate("dies")
    with pytest.raises(ReleaseError, match="no such weights"):
        world.watch()
    assert (listed(), world.routing.canary) == ("thumbwheel-chat/1", None)


def test_bentos_that_differ_in_their_release_alone_have_the_same_code(world: World) -> None:
    world.candidate()
    new = promote.candidate(read_pin("register"), read_pin("package"), "Ada")
    assert engines.same_code(world.release.champion(), new)
    code = settings().bentoml_home / "bentos" / "b" / "two" / "src" / "serving" / "arms" / "engine.py"
    code.write_text(code.read_text() + "# changed\n")
    assert not engines.same_code(world.release.champion(), new)


def test_without_a_service_or_with_other_code_or_switched_off_it_goes_straight_through(world: World) -> None:
    world.candidate()
    new = promote.candidate(read_pin("register"), read_pin("package"), "Ada")
    world.options(enabled=False)
    assert world.watch() == 0
    assert world.engines() == set()
    world.options()
    (settings().bentoml_home / "bentos" / "b" / "two" / "src" / "serving" / "arms" / "engine.py").unlink()
    params = canary.load_params("canary", canary.CanaryParams)
    assert "knows no arms" in str(canary.straight_through(new, world.release, params))
    deploy.record_path().unlink()
    assert "no service answers" in str(canary.straight_through(new, world.release, params))
