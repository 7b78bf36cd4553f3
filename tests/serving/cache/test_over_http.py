"""The semantic cache over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.cache.semantic import make_cache
from serving.memory.assembly import _sessions
from serving.options import MemoryOptions
from serving.sentences import Sentences
from tests.fakes import fake_engine, word_vectors
from tests.serving.conftest import OPTIONS, Chat, chatting, options_with
from tests.serving.models.conftest import fallback
from tests.serving.test_limits import redis_port as redis_port  # the fixture of a real Redis
from thumbwheel.errors import SettingsError
from thumbwheel.settings import settings

LIMITS = {"store": "process", "tiers": {"anonymous": {"per_second": 1000, "burst": 100_000, "at_once": 1000}}}


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.cache.semantic.sentences", lambda options: Sentences(word_vectors, len, 1000))


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Chat]:
    cache = {**OPTIONS.cache.model_dump(), "enabled": True}
    with chatting(tmp_path, options_with(limits=LIMITS, cache=cache)) as chat:
        yield chat


def text(response: httpx.Response) -> Any:
    return response.json()["choices"][0]["message"]["content"]


def test_the_same_question_in_other_words_is_answered_without_the_engine(cached: Chat) -> None:
    first = cached.ask("What is the hub?", temperature=0)
    second = cached.ask("what is THE hub", temperature=0)
    assert [r.headers["X-Cache"] for r in (first, second)] == ["miss", "hit"]
    assert text(first) == text(second) == "Echo 1: What is the hub?"
    assert second.json()["usage"] == first.json()["usage"]
    assert second.json()["choices"][0]["finish_reason"] == "stop"
    assert len(cached.engine.payloads) == 1
    metrics = cached.http.get("/metrics").text
    assert 'thumbwheel_cache_total{reason="near",result="hit"}' in metrics


def test_a_streamed_hit_is_the_same_text(cached: Chat) -> None:
    cached.ask("What is the hub?", temperature=0)
    response = cached.ask("What is the hub?", temperature=0, stream=True)
    assert response.headers["X-Cache"] == "hit"
    assert "Echo 1: What is the hub?" in response.text
    assert response.text.endswith("data: [DONE]\n\n")


def test_a_hit_is_a_message_of_its_own_that_a_thumb_finds_and_a_thumb_down_purges(cached: Chat) -> None:
    first = cached.ask("What is the hub?", temperature=0).json()
    second = cached.ask("What is the hub?", temperature=0).json()
    assert second["message_id"] != first["message_id"]
    assert cached.rate(second, rating="down").status_code == 201
    assert cached.events()[0]["message_id"] == second["message_id"]
    assert cached.events()[0]["reply"] == "Echo 1: What is the hub?"
    assert cached.ask("What is the hub?", temperature=0).headers["X-Cache"] == "miss"


def test_only_first_turns_at_temperature_nought_are_looked_up(cached: Chat) -> None:
    first = cached.ask("What?", temperature=0).json()
    later = {"conversation_id": first["conversation_id"], "temperature": 0}
    warm, default = cached.ask("What?", temperature=0.5), cached.ask("What?")
    again = cached.http.post("/v1/chat/completions", json={"regenerate": first["message_id"]})
    assert ["X-Cache" in r.headers for r in (warm, default, again, cached.ask("What?", **later))] == [False] * 4
    assert len(cached.engine.payloads) == 5


@pytest.mark.parametrize("more", [{"max_tokens": 5}, {"seed": 1}, {"stop": ["x"]}, {"top_p": 0.5}])
def test_other_settings_are_another_partition(cached: Chat, more: dict[str, Any]) -> None:
    cached.ask("What?", temperature=0)
    assert cached.ask("What?", temperature=0, **more).headers["X-Cache"] == "miss"


def test_another_system_prompt_or_profile_is_another_partition(cached: Chat) -> None:
    cached.ask("What?", temperature=0)
    messages = [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "What?"}]
    other = cached.http.post("/v1/chat/completions", json={"messages": messages, "temperature": 0})
    cached.ask("My name is Anna.", temperature=0)
    assert [r.headers["X-Cache"] for r in (other, cached.ask("What?", temperature=0))] == ["miss", "miss"]


def test_users_of_one_tenant_share_and_may_be_told_not_to(cached: Chat, tmp_path: Path) -> None:
    cached.ask("What?", temperature=0)
    cached.http.cookies.clear()
    assert cached.ask("What?", temperature=0).headers["X-Cache"] == "hit"
    cache = {**OPTIONS.cache.model_dump(), "enabled": True, "scope": "user"}
    (tmp_path / "own").mkdir()
    with chatting(tmp_path / "own", options_with(limits=LIMITS, cache=cache)) as chat:
        chat.ask("What?", temperature=0)
        assert chat.ask("What?", temperature=0).headers["X-Cache"] == "hit"
        chat.http.cookies.clear()
        assert chat.ask("What?", temperature=0).headers["X-Cache"] == "miss"


def test_an_answer_that_broke_off_is_not_kept(cached: Chat) -> None:
    cached.engine.dies_after = 2
    assert cached.ask("What?", temperature=0).status_code == 503
    cached.engine.dies_after = None
    assert cached.ask("What?", temperature=0).headers["X-Cache"] == "miss"


def test_who_is_erased_leaves_no_answer_in_the_cache(cached: Chat) -> None:
    cached.ask("What?", temperature=0)
    assert cached.http.delete("/v1/me").json()["erased"]["cache"] == 1
    assert cached.ask("What?", temperature=0).headers["X-Cache"] == "miss"


@pytest.mark.slow
def test_two_services_on_one_redis_share_sessions_and_answers(
    redis_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBWHEEL_REDIS_URL", f"redis://127.0.0.1:{redis_port}")
    settings.cache_clear()
    cache = {**OPTIONS.cache.model_dump(), "enabled": True, "store": "redis"}
    session = {**OPTIONS.memory.session.model_dump(), "store": "redis"}
    options = options_with(limits=LIMITS, cache=cache, memory={"session": session})
    with chatting(tmp_path, options) as one, chatting(tmp_path, options) as other:
        first = one.ask("What is the hub?", temperature=0)
        second = other.ask("what is the hub", temperature=0)
        assert [r.headers["X-Cache"] for r in (first, second)] == ["miss", "hit"]
        other.ask("And now?", conversation_id=first.json()["conversation_id"])
        said = [m["content"] for m in other.engine.payloads[0]["messages"][1:]]
        assert said == ["What is the hub?", "Echo 1: What is the hub?", "And now?"]
        assert one.http.delete("/v1/me").json()["erased"] == {
            "history": 2, "profile": 0, "recall": 0, "sessions": 1, "cache": 1,
        }  # fmt: skip
        assert other.ask("What is the hub?", temperature=0).headers["X-Cache"] == "miss"
    settings.cache_clear()


def test_a_cache_or_sessions_in_redis_want_a_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THUMBWHEEL_REDIS_URL", raising=False)
    settings.cache_clear()
    cache = {**OPTIONS.cache.model_dump(), "enabled": True, "store": "redis"}
    session = {**OPTIONS.memory.session.model_dump(), "store": "redis"}
    with pytest.raises(SettingsError, match="keeps cache in Redis"):
        make_cache(options_with(cache=cache))
    with pytest.raises(SettingsError, match="keeps sessions in Redis"):
        _sessions(MemoryOptions(**{**OPTIONS.memory.model_dump(), "session": session}), OPTIONS)


def test_what_another_engine_wrote_is_not_kept(tmp_path: Path) -> None:
    with fake_engine() as backup:
        beside = fallback("backup", backup.url, ["failure"])
        wanted = {"limits": LIMITS, "cache": {"enabled": True}, "models": {"fallbacks": [beside]}}
        with chatting(tmp_path, options_with(**wanted)) as chat:
            chat.engine.status = 500
            assert "backup" in chat.ask("What is the hub?", temperature=0).json()["model"]
            chat.engine.status = 200
            second = chat.ask("What is the hub?", temperature=0)
            assert (second.headers["X-Cache"], second.json()["model"]) == ("miss", "thumbwheel-chat/3")
            assert chat.ask("What is the hub?", temperature=0).headers["X-Cache"] == "hit"
