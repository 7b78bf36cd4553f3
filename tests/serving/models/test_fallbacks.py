"""Engines beside the release's own, over HTTP: who answers when, and how it is told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from prometheus_client import REGISTRY

from serving.history import SqliteHistory
from serving.keys import key_file
from serving.models.pool import make_fallbacks, make_pool
from tests.serving.conftest import OPTIONS, RELEASE, Chat
from tests.serving.models.conftest import fallback, models
from tests.serving.test_admission import in_background
from tests.waiting import eventually
from thumbwheel.errors import SettingsError
from thumbwheel.records import is_release

BACKUP = {"backup": ["failure"]}
BACKUPS_NAME = "elsewhere/backup/backup-model"


def said(response: httpx.Response) -> tuple[str, str]:
    answer = response.json()
    return answer["choices"][0]["message"]["content"], answer["model"]


def streamed(chat: Chat, content: str = "Hello?") -> tuple[str, list[dict[str, Any]], httpx.Response]:
    response = chat.ask(content, stream=True)
    lines = [line[6:] for line in response.text.split("\n\n") if line.startswith("data: {")]
    events = [json.loads(line) for line in lines]
    return "".join(c["delta"].get("content", "") for e in events for c in e.get("choices", [])), events, response


@pytest.mark.parametrize("breaks", [{"status": 500}, {"status": 404}, {"dies_after": 0}])
def test_where_the_primary_fails_before_its_first_word_a_fallback_answers(
    tmp_path: Path, breaks: dict[str, Any]
) -> None:
    with models(tmp_path, BACKUP) as m:
        vars(m.primary).update(breaks)
        whole = m.chat.ask()
        text, events, response = streamed(m.chat)
        assert said(whole) == ("backup-model says: Hello?", BACKUPS_NAME)
        assert (text, events[0]["model"]) == said(whole)
        assert whole.headers["X-Model"] == response.headers["X-Model"] == BACKUPS_NAME
        assert [payload["model"] for payload in m.beside["backup"].payloads] == ["backup-model"] * 2


def test_a_stream_that_has_begun_is_never_taken_up_by_another_engine(tmp_path: Path) -> None:
    with models(tmp_path, BACKUP) as m:
        m.primary.dies_after = 2
        text, events, _ = streamed(m.chat)
        assert text == "thumbw"
        assert events[-1]["error"]["code"] == "engine_unavailable"
        assert m.beside["backup"].payloads == []


def test_an_engine_that_does_not_begin_in_time_is_left_for_the_next(tmp_path: Path) -> None:
    with models(tmp_path, BACKUP, first_token_seconds=0.2) as m:
        m.primary.silence = 30
        assert said(m.chat.ask())[1] == BACKUPS_NAME


def test_without_a_next_engine_a_slow_one_is_waited_for(tmp_path: Path) -> None:
    with models(tmp_path, {}, first_token_seconds=0.05) as m:
        m.primary.silence = 0.4
        assert said(m.chat.ask())[1] == RELEASE.model


def test_a_whole_answer_is_asked_for_whole_only_where_nobody_else_could_answer(tmp_path: Path) -> None:
    for beside, is_streamed in ((BACKUP, True), ({}, False)):
        with models(tmp_path / str(is_streamed), beside) as m:
            m.chat.ask()
            assert m.primary.payloads[0]["stream"] == is_streamed


def test_a_primary_at_rest_is_not_asked(tmp_path: Path) -> None:
    with models(tmp_path, BACKUP, {"breaker": {"failures": 2, "rest_seconds": 600.0}}) as m:
        m.primary.status = 500
        assert [said(m.chat.ask())[1] for _ in range(5)] == [BACKUPS_NAME] * 5
        assert len(m.primary.payloads) == 2
        assert 'thumbwheel_engine_resting{engine="primary"} 1.0' in m.chat.http.get("/metrics").text


def test_when_all_are_gone_it_is_the_503_of_one(tmp_path: Path) -> None:
    with models(tmp_path, BACKUP) as m:
        m.primary.status = m.beside["backup"].status = 500
        response = m.chat.ask()
        assert (response.status_code, response.json()["error"]["code"]) == (503, "engine_unavailable")
        assert response.headers["Retry-After"] == "2"


def test_a_request_that_the_primary_refuses_is_no_others_to_answer(tmp_path: Path) -> None:
    with models(tmp_path, BACKUP) as m:
        m.primary.status = 400
        assert m.chat.ask().status_code == 400
        assert m.beside["backup"].payloads == []


def shed() -> float:
    return REGISTRY.get_sample_value("thumbwheel_shed_total") or 0.0


def test_a_full_queue_is_answered_elsewhere_until_that_is_full_too(tmp_path: Path) -> None:
    narrow = {"answers": 1, "waiting": 0, "wait_seconds": 60.0}
    with models(tmp_path, {"more": {"takes": ["overload"], "answers": 1}}, {"admission": narrow}) as m:
        got: list[httpx.Response] = []
        before = shed()
        m.primary.is_held = m.beside["more"].is_held = True
        first = in_background(m.chat, "one", got)
        assert eventually(lambda: m.primary.keys)
        second = in_background(m.chat, "another", got)
        assert eventually(lambda: m.beside["more"].keys)
        refused = m.chat.ask()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "server_overloaded")
        m.primary.is_held = m.beside["more"].is_held = False
        first.join(60)
        second.join(60)
        assert {response.json()["model"] for response in got} == {RELEASE.model, "elsewhere/more/more-model"}
        assert shed() == before + 1


SMALL_AND_BIG = {"small": ["simple"], "big": ["complex"]}
HARD = "Explain step by step why 17 * 23 = 391, then prove that `def f(x): return x_max;` compares 5 > 3 + 2. " * 8


@pytest.mark.parametrize(
    ("question", "who"),
    [
        ("Hi there", "elsewhere/small/small-model"),
        (HARD, "elsewhere/big/big-model"),
        ("Why is the sky blue on Mars?", RELEASE.model),
    ],
)
def test_simple_and_complex_requests_go_to_whom_takes_them(tmp_path: Path, question: str, who: str) -> None:
    with models(tmp_path, SMALL_AND_BIG) as m:
        assert said(m.chat.ask(question))[1] == who


def test_where_the_preferred_engine_fails_the_release_answers(tmp_path: Path) -> None:
    with models(tmp_path, SMALL_AND_BIG) as m:
        m.beside["small"].status = 500
        assert said(m.chat.ask("Hi there")) == ("thumbwheel-chat/3 says: Hi there", RELEASE.model)


def test_who_names_the_version_is_answered_by_it_or_not_at_all(tmp_path: Path) -> None:
    with models(tmp_path, {"other": ["simple", "failure", "overload"]}) as m:
        assert said(m.chat.ask("Hi there", model="thumbwheel-chat"))[1] == "elsewhere/other/other-model"
        assert said(m.chat.ask("Hi there", model="thumbwheel-chat/3"))[1] == "thumbwheel-chat/3"
        m.primary.status = 500
        assert m.chat.ask("Hi there", model="thumbwheel-chat/3").status_code == 503


def test_history_events_and_metrics_say_who_wrote_an_answer(tmp_path: Path) -> None:
    with models(tmp_path, BACKUP) as m:
        m.primary.status = 500
        answer = m.chat.ask().json()
        assert m.chat.rate(answer, rating="down", consent=True).status_code == 201
        (event,) = m.chat.events()
        text = m.chat.http.get("/metrics").text
        assert event["model"] == BACKUPS_NAME
        assert not is_release(event["model"])
        for line in (
            f'thumbwheel_routed_total{{model="{BACKUPS_NAME}",why="failure"}}',
            f'thumbwheel_replies_total{{arm="control",finish="stop",model="{BACKUPS_NAME}"}}',
            f'thumbwheel_feedback_total{{arm="control",kind="rating",model="{BACKUPS_NAME}",rating="down"}}',
        ):
            assert line in text
    kept = SqliteHistory(tmp_path / "history.db").find(answer["message_id"])
    assert kept is not None
    assert kept.model == BACKUPS_NAME


def test_the_key_of_an_engine_is_sent_to_it_and_to_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_KEY", "s3cret")
    with models(tmp_path, {"backup": {"takes": ["failure"], "key": "BACKUP_KEY"}}) as m:
        m.primary.dies_after = 0
        m.chat.ask()
        assert (m.primary.keys, m.beside["backup"].keys) == ([None], ["Bearer s3cret"])


def test_a_key_that_is_not_in_the_environment_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKUP_KEY", raising=False)
    options = OPTIONS.model_dump()
    options["models"]["fallbacks"] = [fallback("backup", "http://127.0.0.1:9", ["failure"], key="BACKUP_KEY")]
    with pytest.raises(SettingsError, match="'backup' is to be in BACKUP_KEY"):
        make_fallbacks(type(OPTIONS).model_validate(options))


async def test_two_arms_share_the_places_of_an_engine_beside_theirs() -> None:
    changed = OPTIONS.model_dump()
    changed["models"]["fallbacks"] = [fallback("backup", "http://127.0.0.1:9", ["failure"], answers=1)]
    options, given = type(OPTIONS).model_validate(changed), cast(Any, None)
    engines = make_fallbacks(options)
    one, other = (make_pool(options, RELEASE, given, given, engines) for _ in range(2))
    async with one.engines["backup"].admission.place():
        assert not other.engines["backup"].is_free
    assert other.engines["backup"].is_free


def test_nothing_of_a_tenant_goes_to_an_engine_that_is_not_trusted(tmp_path: Path, state: Path) -> None:
    _, key = key_file().add("acme's application", "standard", tenant="acme")
    with models(tmp_path, {"outside": {"takes": ["failure"], "trusted": False}}) as m:
        m.primary.status = 500
        assert said(m.chat.ask())[1] == "elsewhere/outside/outside-model"
        body = {"messages": [{"role": "user", "content": "Hello?"}]}
        sent = {"Authorization": f"Bearer {key}"}
        assert m.chat.http.post("/v1/chat/completions", json=body, headers=sent).status_code == 503
        assert len(m.beside["outside"].payloads) == 1


def test_the_service_stays_ready_on_a_fallback_once_its_own_engine_was(tmp_path: Path) -> None:
    with models(tmp_path, BACKUP) as m:
        seen = []
        for m.primary.is_well in (False, True, False):
            seen.append(m.chat.http.get("/readyz").status_code)
        assert seen == [503, 200, 200]


def test_what_the_engine_counts_of_its_prefix_cache_and_guesses_is_passed_on(tmp_path: Path) -> None:
    with models(tmp_path, {}) as m:
        text = m.chat.http.get("/metrics").text
        for what, tokens in {"prefix_looked_up": 1000, "prefix_found": 768, "guessed": 40, "accepted": 30}.items():
            assert f'thumbwheel_engine_tokens{{what="{what}"}} {tokens}.0' in text


def test_what_may_be_long_is_ended_in_the_engine_by_the_guard_though_nobody_streams_it(tmp_path: Path) -> None:
    with models(tmp_path, {}, whole_tokens=10) as m:
        m.primary.text, m.primary.delay = "Sure. PRIVATE KEY-----" + " and more" * 300, 0.01
        answer = m.chat.ask(max_tokens=11).json()
        assert answer["choices"][0]["finish_reason"] == "content_filter"
        assert eventually(lambda: m.primary.cancelled == 1)
        m.primary.text, m.primary.delay = "Short.", 0.0
        m.chat.ask(max_tokens=10)
        assert [bool(payload["stream"]) for payload in m.primary.payloads] == [True, False]
