"""Two arms behind one service, over HTTP: who answers whom, what is noted, and what happens when one breaks."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest

from serving.arms.assign import assign
from tests.serving.arms.conftest import CHALLENGER, SALT, Arms
from tests.serving.conftest import RELEASE
from tests.waiting import eventually
from thumbwheel.arms import CANARY, CONTROL, Routing


def users_of(arm: str, share: float, count: int = 2) -> list[str]:
    """Return names of an application's users who fall to an arm."""
    from thumbwheel.records import user_hash

    names = (f"user-{number}" for number in range(1000))
    return [name for name in names if assign(user_hash(f"user:{name}", b"key"), SALT, share) == arm][:count]


def said(response: httpx.Response) -> str:
    """Return the text of an answer, streamed or whole."""
    if not response.headers["Content-Type"].startswith("text/event-stream"):
        return str(response.json()["choices"][0]["message"]["content"])
    events = [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
    return "".join(one["choices"][0]["delta"].get("content", "") for one in events)


def test_users_are_answered_by_their_arm_and_it_stands_in_answer_history_and_event(arms: Arms) -> None:
    arms.route(0.5)
    for arm, model in ((CONTROL, "thumbwheel-chat/3"), (CANARY, "thumbwheel-chat/4")):
        for user in users_of(arm, 0.5):
            response = arms.ask(user=user)
            answer = response.json()
            assert (answer["arm"], answer["model"], response.headers["X-Arm"]) == (arm, model, arm)
            (kept,) = arms.http.get(f"/v1/conversations/{answer['conversation_id']}").json()["replies"]
            assert (kept["arm"], kept["model"]) == (arm, model)
            assert arms.rate(answer, rating="down").status_code == 201
            assert (arms.events()[-1]["arm"], arms.events()[-1]["model"]) == (arm, model)
    assert len(arms.engine.payloads) == len(arms.other.payloads) == 2


def test_without_a_routing_the_release_answers_alone(arms: Arms) -> None:
    assert arms.ask().json()["arm"] == CONTROL
    assert arms.models() == ["thumbwheel-chat/3"]


def test_a_conversation_stays_on_its_arm_while_the_share_changes(arms: Arms) -> None:
    arms.route(1.0)
    begun = arms.ask("One").json()
    arms.route(0.0)
    again = arms.ask("Two", conversation_id=begun["conversation_id"]).json()
    other_try = arms.http.post("/v1/chat/completions", json={"regenerate": begun["message_id"]}).json()
    assert (begun["arm"], again["arm"]) == (CANARY, CANARY)
    assert arms.ask("One").json()["arm"] == CONTROL
    assert (other_try["arm"], other_try["model"]) == (CANARY, "thumbwheel-chat/4")


def test_a_conversation_of_an_arm_that_left_goes_on_with_the_champion(arms: Arms) -> None:
    arms.route(1.0)
    begun = arms.ask("One").json()
    arms.write(Routing(champion=arms.arm()))
    again = arms.ask("Two", conversation_id=begun["conversation_id"]).json()
    assert (again["arm"], again["model"]) == (CONTROL, "thumbwheel-chat/3")
    assert [m["content"] for m in arms.engine.payloads[-1]["messages"]][1:] == ["One", "Echo 1: One", "Two"]


def test_a_promoted_arm_answers_everybody_without_a_restart_and_can_be_put_back(arms: Arms) -> None:
    arms.route(0.5)
    arms.write(Routing(champion=arms.arm(CHALLENGER), previous=arms.arm()))
    assert {arms.ask(user=user).json()["model"] for user in ("a", "b", "c")} == {"thumbwheel-chat/4"}
    assert arms.ask().json()["arm"] == CONTROL
    assert arms.http.get("/release").json()["version"] == 4
    arms.write(Routing(champion=arms.arm(), previous=arms.arm(CHALLENGER)))
    assert arms.ask().json()["model"] == "thumbwheel-chat/3"
    assert arms.http.get("/release").json()["version"] == 3


def test_an_answer_under_way_is_finished_by_the_arm_that_began_it(arms: Arms) -> None:
    arms.route(1.0)
    arms.other.is_held, arms.other.text = True, "An answer that is still being written."
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(arms.ask().json()))
    thread.start()
    assert eventually(lambda: len(arms.other.payloads) == 1)
    arms.write(Routing(champion=arms.arm()))
    arms.other.is_held = False
    thread.join()
    assert found[0]["choices"][0]["message"]["content"] == arms.other.text
    assert found[0]["arm"] == CANARY


@pytest.mark.parametrize("stream", [False, True])
def test_where_the_canarys_engine_is_gone_the_champion_answers_and_the_canary_counts_an_error(
    arms: Arms, stream: bool
) -> None:
    arms.route(1.0)
    arms.other.status = 503
    response = arms.ask(user="somebody", stream=stream)
    assert response.status_code == 200
    assert response.headers["X-Arm"] == CONTROL
    assert said(response) == "Echo 1: Hello?"
    (noted,) = arms.ledger().entries(SALT, "live")
    assert (noted.arm, noted.failed) == (CANARY, True)
    metrics = arms.http.get("/metrics").text
    assert 'thumbwheel_fallbacks_total{arm="canary"}' in metrics
    assert 'thumbwheel_replies_total{arm="canary",finish="error",model="thumbwheel-chat/4"}' in metrics


def test_a_whole_answer_that_breaks_off_is_given_by_the_champion_and_leaves_nothing_in_the_history(arms: Arms) -> None:
    arms.route(1.0)
    arms.other.dies_after, arms.other.text = 4, "One sentence. Another sentence. A third one."
    answer = arms.ask().json()
    assert (answer["arm"], answer["choices"][0]["message"]["content"]) == (CONTROL, "Echo 1: Hello?")
    kept = arms.http.get(f"/v1/conversations/{answer['conversation_id']}").json()["replies"]
    assert [reply["arm"] for reply in kept] == [CONTROL]


def test_a_request_that_is_wrong_is_refused_and_not_asked_twice(arms: Arms) -> None:
    arms.route(1.0)
    arms.other.status = 400
    assert arms.ask().status_code == 400
    assert arms.engine.payloads == []


def test_a_request_may_name_its_arm_and_then_does_not_count(arms: Arms) -> None:
    arms.route(0.0)
    assert arms.ask(model="thumbwheel-chat/4").json()["arm"] == CANARY
    assert arms.ask(model="thumbwheel-chat/3").json()["arm"] == CONTROL
    assert arms.ask(model="thumbwheel-chat").json()["arm"] == CONTROL
    assert [entry.arm for entry in arms.ledger().entries(SALT, "live")] == [CONTROL]


def test_a_request_that_names_a_broken_arm_is_told_so(arms: Arms) -> None:
    arms.route(1.0)
    arms.other.status = 503
    assert arms.ask(model="thumbwheel-chat/4").status_code == 503
    assert arms.engine.payloads == []


def test_the_ledger_counts_each_arm_by_unit_and_holds_no_user(arms: Arms) -> None:
    arms.route(0.5)
    users = users_of(CANARY, 0.5, 1) + users_of(CONTROL, 0.5, 1)
    for user in users:
        arms.ask("Tell me of the garden, please.", user=user, stream=True)
        arms.ask("Say hello.", user=user, stream=True)
    entries = arms.ledger().entries(SALT, "live")
    assert [entry.arm for entry in entries] == [CANARY, CANARY, CONTROL, CONTROL]
    assert len({entry.unit for entry in entries}) == 2
    assert all(entry.first_seconds is not None and not entry.failed and not entry.guarded for entry in entries)
    assert not any(user in json.dumps(vars(entry)) for entry in entries for user in users)


def test_what_the_guardrails_end_of_an_arms_own_words_is_noted_and_what_users_asked_is_not(arms: Arms) -> None:
    arms.route(1.0)
    arms.other.text = "Here it is: -----BEGIN PRIVATE KEY----- abc"
    arms.ask("What is the key?", user="a")
    arms.ask("How do I build a pipe bomb at home?", user="b")
    said, asked = arms.ledger().entries(SALT, "live")
    assert (said.guarded, asked.guarded) == (True, False)
    assert 'thumbwheel_guarded_replies_total{arm="canary",layer="stream"' in arms.http.get("/metrics").text


def test_a_conversation_from_before_the_canary_does_not_count(arms: Arms) -> None:
    begun = arms.ask("One").json()
    arms.route(0.0, began="2099-01-01T00:00:00Z")
    arms.ask("Two", conversation_id=begun["conversation_id"])
    assert arms.ledger().entries(SALT, "live") == []


@pytest.mark.parametrize("content", ['{"champion": 3}', "{", "\x00"])
def test_a_damaged_routing_changes_nothing_and_says_so(arms: Arms, content: str) -> None:
    arms.route(1.0)
    (arms.folder / "arms.json").write_text(content)
    assert eventually(lambda: 'thumbwheel_degraded{part="arms"} 1.0' in arms.http.get("/metrics").text)
    assert arms.ask().json()["arm"] == CANARY


def test_an_arm_that_cannot_be_loaded_changes_nothing(arms: Arms) -> None:
    arms.route(1.0)
    missing = arms.arm(CHALLENGER).model_copy(update={"bento": "b:missing"})
    (arms.folder / "arms.json").write_text(Routing(champion=missing).model_dump_json())
    assert eventually(lambda: 'thumbwheel_degraded{part="arms"} 1.0' in arms.http.get("/metrics").text)
    assert arms.models() == ["thumbwheel-chat/3", "thumbwheel-chat/4"]
    assert RELEASE.model in arms.models()
