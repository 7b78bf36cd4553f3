"""Signed tokens: whom they stand for, what is wrong with a bad one, and the issuer's keys as they come and go."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from serving.access import Tokens
from serving.openai_api import ApiError
from serving.options import JwtOptions

TIERS = frozenset({"standard", "service"})
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


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": JWT.issuer, "aud": JWT.audience, "sub": "ana", "exp": now + 86400, **more}


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
    return Tokens(JWT, TIERS, issuer, clock)


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
        (token(nbf=int(time.time()) + 43200), "not yet valid"),
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
