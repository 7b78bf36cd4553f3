"""Who may ask: keys, tokens, tiers, and whose conversations they see, over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from serving.access import Tokens, address, is_https
from serving.keys import KeyFile, key_file
from serving.openai_api import ApiError
from serving.options import JwtOptions
from tests.serving.conftest import OPTIONS, Chat, chatting, options_with
from thumbwheel.errors import SettingsError
from thumbwheel.settings import settings

CHAT = "/v1/chat/completions"
TIERS = {name: tier.model_dump() for name, tier in OPTIONS.limits.tiers.items()} | {
    "standard": {"per_second": 0.001, "burst": 2},
    "service": {"per_second": 1000, "burst": 100_000},
}
JWT = JwtOptions(
    issuer="https://issuer.example",
    audience="thumbwheel",
    jwks_url="https://issuer.example/keys",
    tier_claim="tier",
    tenant_claim="tenant",
    default_tier="service",
    leeway_seconds=0,
    refresh_seconds=60,
    trust_seconds=3600,
)
SIGNER, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


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


def test_a_spoilt_key_file_says_so(keys: KeyFile) -> None:
    keys.add("app", "standard")
    (settings().state_dir / "api_keys.json").write_text("[{")
    with pytest.raises(SettingsError, match="not a file of API keys"):
        keys.find("tw-0-0")


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": JWT.issuer, "aud": JWT.audience, "sub": "ana", "exp": now + 3600, **more}


def token(key: Any = SIGNER, kid: str = "one", algorithm: str = "RS256", **more: Any) -> str:
    kept = {name: value for name, value in claims(**more).items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid})


def row(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


class Issuer:
    """What `jwks_url` gives; None is an issuer that is away."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys: list[dict[str, Any]] | None = list(keys)
        self.asked = 0

    async def __call__(self, url: str) -> dict[str, Any]:
        assert url == JWT.jwks_url
        self.asked += 1
        if self.keys is None:
            raise httpx.ConnectError("away")
        return {"keys": self.keys}


def tokens(issuer: Issuer, clock: Any = time.monotonic) -> Tokens:
    return Tokens(JWT, frozenset(TIERS), issuer, clock)


def test_a_good_token_gives_its_subject_and_tier() -> None:
    found = tokens(Issuer(row(SIGNER, "one")))
    assert asyncio.run(found.caller(token(tier="standard"))) == asyncio.run(found.caller(token(tier="standard")))
    caller = asyncio.run(found.caller(token(tier="standard")))
    assert (caller.subject, caller.tier) == ("jwt:ana", "standard")
    assert asyncio.run(found.caller(token())).tier == "service"


SECRET = "x" * 32


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (token(exp=int(time.time()) - 5), "past its time"),
        (token(exp=None), "exp"),
        (token(sub=None), "sub"),
        (token(aud="other"), "udience"),
        (token(iss="https://other.example"), "ssuer"),
        (token(nbf=int(time.time()) + 600), "not yet valid"),
        (token(key=OTHER), "ignature"),
        (token(kid="two"), "does not publish"),
        (token(key=SECRET, algorithm="HS256"), "alg"),
        (token(key=None, algorithm="none"), "alg"),
        (token(tier="king"), "none of ours"),
        (token(tier=["service"]), "none of ours"),
        (token(sub="ana/user:bob"), "sub holds"),
        (token(sub=7), "ubject"),
        ("a.b.c", "not good"),
        (token()[:-4] + "AAAA", "ignature"),
    ],
)
def test_a_bad_token_is_a_401_that_says_why(bad: str, why: str) -> None:
    with pytest.raises(ApiError, match=why) as error:
        asyncio.run(tokens(Issuer(row(SIGNER, "one"))).caller(bad))
    assert error.value.status == 401


def test_a_new_key_of_the_issuer_is_learnt_and_unknown_ones_do_not_flood_it() -> None:
    now = [0.0]
    issuer = Issuer(row(SIGNER, "one"))
    found = tokens(issuer, lambda: now[0])
    asyncio.run(found.caller(token()))
    assert issuer.keys is not None
    issuer.keys.append(row(OTHER, "two"))
    for _ in range(5):
        with pytest.raises(ApiError):
            asyncio.run(found.caller(token(OTHER, "two")))
    assert issuer.asked == 1
    now[0] = JWT.refresh_seconds
    assert asyncio.run(found.caller(token(OTHER, "two"))).subject == "jwt:ana"
    assert issuer.asked == 2


def test_while_the_issuer_is_away_known_keys_go_on_and_the_rest_is_a_503() -> None:
    issuer = Issuer(row(SIGNER, "one"))
    known, fresh = tokens(issuer), tokens(issuer)
    asyncio.run(known.caller(token()))
    issuer.keys = None
    assert asyncio.run(known.caller(token())).subject == "jwt:ana"
    for _ in range(2):
        with pytest.raises(ApiError) as error:
            asyncio.run(fresh.caller(token()))
        assert (error.value.status, error.value.code) == (503, "auth_unavailable")


def test_a_key_that_the_issuer_withdrew_is_refused_once_its_trust_is_over() -> None:
    now = [0.0]
    issuer = Issuer(row(SIGNER, "one"))
    found = tokens(issuer, lambda: now[0])
    asyncio.run(found.caller(token()))
    issuer.keys = [row(OTHER, "two")]
    now[0] = JWT.trust_seconds - 1
    assert asyncio.run(found.caller(token())).subject == "jwt:ana"
    now[0] = JWT.trust_seconds
    with pytest.raises(ApiError, match="does not publish"):
        asyncio.run(found.caller(token()))


def test_while_the_issuer_is_away_keys_outlive_their_trust_and_it_is_not_asked_at_every_request() -> None:
    now = [0.0]
    issuer = Issuer(row(SIGNER, "one"))
    found = tokens(issuer, lambda: now[0])
    asyncio.run(found.caller(token()))
    issuer.keys, now[0] = None, JWT.trust_seconds
    for _ in range(3):
        assert asyncio.run(found.caller(token())).subject == "jwt:ana"
    assert issuer.asked == 2


def test_keys_of_other_kinds_are_passed_over() -> None:
    mixed = Issuer({"kty": "EC", "kid": "x"}, {**row(OTHER, "two"), "use": "enc"}, row(SIGNER, "one"))
    found = tokens(mixed)
    assert asyncio.run(found.caller(token())).subject == "jwt:ana"
    with pytest.raises(ApiError):
        asyncio.run(found.caller(token(OTHER, "two")))


@given(
    forged=st.lists(st.sampled_from(["1.1.1.1", "evil", ""]), max_size=4),
    ours=st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), min_size=1, max_size=3),
)
def test_what_a_client_writes_into_the_header_never_changes_its_address(forged: list[str], ours: list[str]) -> None:
    header = ", ".join([*forged, "203.0.113.9", *ours[1:]])
    assert address("10.9.9.9", header, len(ours)) == "203.0.113.9"
    assert address("10.9.9.9", header, 0) == "10.9.9.9"
    assert address("10.9.9.9", None, len(ours)) == "10.9.9.9"


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9"),
        ("unknown", "unknown"),
    ],
)
def test_a_subscriber_is_one_address_however_many_they_have(told: str, counted: str) -> None:
    assert address(told, None, 0) == counted
    assert address("10.9.9.9", told, 1) == counted


@given(
    forged=st.lists(st.sampled_from(["https", "http", ""]), max_size=3),
    inner=st.lists(st.sampled_from(["https", "http"]), max_size=2),
    outer=st.sampled_from(["https", "http"]),
)
def test_only_what_the_outermost_of_our_proxies_wrote_makes_a_request_https(
    forged: list[str], inner: list[str], outer: str
) -> None:
    header = ", ".join([*forged, outer, *inner])
    assert is_https("http", header, 1 + len(inner)) is (outer == "https")
    assert is_https("https", header, 1 + len(inner)) is True
    assert is_https("http", header, 0) is False
    assert is_https("http", outer, 3) is (outer == "https")  # several proxies, of which one alone writes the header


@pytest.mark.parametrize(("came", "is_secure"), [("https", True), ("http", False)])
def test_a_cookie_given_by_https_goes_no_other_way(tmp_path: Path, came: str, is_secure: bool) -> None:
    with chatting(tmp_path, options_with(access={"proxies": 1})) as chat:
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        cookie = chat.http.post(CHAT, json=body, headers={"X-Forwarded-Proto": came}).headers["Set-Cookie"]
    assert ("; Secure" in cookie) is is_secure
