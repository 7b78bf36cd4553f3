"""Who may ask: keys, tiers, and whose conversations they see, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.keys import KeyFile, key_file, main
from tests.serving.conftest import OPTIONS, Chat, chatting, options_with
from thumbwheel.errors import SettingsError
from thumbwheel.settings import settings

CHAT = "/v1/chat/completions"
TIERS = {name: tier.model_dump() for name, tier in OPTIONS.limits.tiers.items()} | {
    "standard": {"per_second": 0.001, "burst": 2, "at_once": 2},
    "service": {"per_second": 1000, "burst": 100_000, "at_once": 1000},
}


@pytest.fixture
def keys(workspace: Path) -> KeyFile:
    return key_file()


@pytest.fixture
def closed(keys: KeyFile, tmp_path: Path) -> Iterator[Chat]:
    """A service that serves nobody without a key."""
    limits = {"store": "process", "tiers": TIERS}
    with chatting(tmp_path, options_with(access={"anonymous": False}, limits=limits)) as chat:
        yield chat


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def asked(chat: Chat, credential: str | None, **more: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": "Hi"}], **more}
    return chat.http.post(CHAT, json=body, headers=bearer(credential) if credential else {})


def test_a_key_opens_the_service_until_it_is_revoked(closed: Chat, keys: KeyFile) -> None:
    key, credential = keys.add("app", "service")
    assert asked(closed, credential).status_code == 200
    keys.revoke(key.id)
    refused = asked(closed, credential)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert refused.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("credential", [None, "none", "sk-123", "tw-", "tw-0-0", "a.b.c"])
def test_whoever_has_no_good_key_is_a_401_on_every_route(closed: Chat, credential: str | None) -> None:
    headers = bearer(credential) if credential else {}
    assert asked(closed, credential).status_code == 401
    assert closed.http.get("/v1/models", headers=headers).status_code == 401
    assert closed.http.get("/v1/conversations/c-1", headers=headers).status_code == 401
    thumb = {"conversation_id": "c-1", "message_id": "m-1", "rating": "up"}
    assert closed.http.post("/v1/feedback", json=thumb, headers=headers).status_code == 401
    assert closed.engine.payloads == []


def test_a_wrong_key_is_refused_even_where_none_is_needed(chat: Chat) -> None:
    assert asked(chat, "tw-0-0").status_code == 401
    assert asked(chat, "none").status_code == 200


def test_openais_client_reads_the_refusals(closed: Chat, keys: KeyFile) -> None:
    from openai import AuthenticationError, OpenAI, RateLimitError

    messages: Any = [{"role": "user", "content": "Hi"}]
    with pytest.raises(AuthenticationError):
        OpenAI(base_url=f"{closed.url}/v1", api_key="tw-no", max_retries=0).models.list()
    client = OpenAI(base_url=f"{closed.url}/v1", api_key=keys.add("app", "standard")[1], max_retries=0)
    for _ in range(2):
        client.chat.completions.create(model="thumbwheel-chat", messages=messages)
    with pytest.raises(RateLimitError):
        client.chat.completions.create(model="thumbwheel-chat", messages=messages)


def test_an_empty_bucket_is_a_429_that_says_when_to_come_back(closed: Chat, keys: KeyFile) -> None:
    _, credential = keys.add("app", "standard")
    first = asked(closed, credential)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    asked(closed, credential)
    third = asked(closed, credential)
    assert (third.status_code, third.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert third.json()["error"]["type"] == "rate_limit_error"
    assert 900 <= int(third.headers["Retry-After"]) <= 1000
    assert asked(closed, keys.add("other", "standard")[1]).status_code == 200


def test_a_callers_conversations_are_its_own(closed: Chat, keys: KeyFile) -> None:
    mine, theirs = (keys.add(name, "service")[1] for name in "ab")
    answer = asked(closed, mine).json()
    ids = {name: answer[name] for name in ("conversation_id", "message_id")}
    path = f"/v1/conversations/{ids['conversation_id']}"
    thumb = {**ids, "rating": "down"}

    assert closed.http.get(path, headers=bearer(theirs)).status_code == 404
    assert asked(closed, theirs, conversation_id=ids["conversation_id"]).status_code == 404
    assert asked(closed, theirs, regenerate=ids["message_id"]).status_code == 404
    assert closed.http.post("/v1/feedback", json=thumb, headers=bearer(theirs)).status_code == 404
    assert closed.events() == []

    assert closed.http.get(path, headers=bearer(mine)).status_code == 200
    assert asked(closed, mine, conversation_id=ids["conversation_id"]).status_code == 200
    assert closed.http.post("/v1/feedback", json=thumb, headers=bearer(mine)).status_code == 201


def test_who_has_no_credentials_sees_nothing_of_a_callers_even_with_its_ids(tmp_path: Path, keys: KeyFile) -> None:
    limits = {"store": "process", "tiers": TIERS}
    with chatting(tmp_path, options_with(limits=limits)) as chat:
        answer = asked(chat, keys.add("app", "service")[1], user="ana").json()
        ids = {name: answer[name] for name in ("conversation_id", "message_id")}
        path = f"/v1/conversations/{ids['conversation_id']}"
        assert [chat.http.get(path, params=user).status_code for user in ({}, {"user": "ana"})] == [404, 404]
        assert asked(chat, None, conversation_id=ids["conversation_id"]).status_code == 404
        assert asked(chat, None, regenerate=ids["message_id"]).status_code == 404
        assert chat.http.post("/v1/feedback", json={**ids, "rating": "down"}).status_code == 404
        assert chat.events() == []

        nobodys = asked(chat, None).json()["conversation_id"]
        assert chat.http.get(f"/v1/conversations/{nobodys}", headers={"Cookie": ""}).status_code == 200


def test_the_users_of_an_application_are_told_apart(closed: Chat, keys: KeyFile) -> None:
    _, app = keys.add("app", "service")
    answer = asked(closed, app, user="ana").json()
    path = f"/v1/conversations/{answer['conversation_id']}"
    assert closed.http.get(path, params={"user": "ana"}, headers=bearer(app)).status_code == 200
    assert closed.http.get(path, params={"user": "bob"}, headers=bearer(app)).status_code == 404


def test_a_key_is_never_kept_and_its_file_is_its_owners_alone(keys: KeyFile) -> None:
    key, credential = keys.add("app", "standard")
    path = settings().state_dir / "api_keys.json"
    assert credential.removeprefix(f"tw-{key.id}-") not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert keys.find(credential) == key
    assert keys.find(credential[:-1]) is None


def test_a_key_ends_with_its_time(keys: KeyFile) -> None:
    key, credential = keys.add("app", "standard", days=1)
    assert keys.find(credential) == key
    assert keys.find(credential, datetime.now(UTC) + timedelta(days=1, seconds=5)) is None


def test_keys_that_are_made_at_once_are_all_kept(keys: KeyFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [*pool.map(lambda number: key_file().add(f"app {number}", "standard"), range(16))]
    assert {key.id for key, _ in made} == set(keys.read())


@pytest.mark.parametrize(
    "more", [["a", "--days", "-3"], ["a", "--days", "nan"], ["a", "--days", "1e9"], [" "], ["a\nb"]]
)
def test_a_key_that_would_be_of_no_use_is_not_made(
    keys: KeyFile, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["keys", "add", *more])
    with pytest.raises(SystemExit):
        main()
    assert keys.read() == {}


def test_a_spoilt_key_file_says_so(keys: KeyFile) -> None:
    keys.add("app", "standard")
    (settings().state_dir / "api_keys.json").write_text("[{")
    with pytest.raises(SettingsError, match="not a file of API keys"):
        keys.find("tw-0-0")


def test_while_the_key_file_is_spoilt_who_has_a_key_is_told_to_come_back(closed: Chat, keys: KeyFile) -> None:
    _, credential = keys.add("app", "service")
    path = settings().state_dir / "api_keys.json"
    good = path.read_text()
    path.write_text("[{")
    refused = asked(closed, credential)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "auth_unavailable")
    assert 'thumbwheel_degraded{part="keys"} 1.0' in closed.http.get("/metrics").text
    path.write_text(good + "\n")
    assert asked(closed, credential).status_code == 200
