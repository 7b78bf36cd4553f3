"""Who asks: an API key, a signed token or nobody in particular, and whose conversations they may see."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from serving import metrics
from serving.keys import PREFIX, KeyFile
from serving.openai_api import ApiError
from serving.options import AccessOptions, JwtOptions
from thumbwheel.errors import SettingsError
from thumbwheel.knowledge import tenant_name

logger = logging.getLogger(__name__)

ALGORITHMS = ["RS256"]
"""The only kind of signature accepted, whatever a token says of itself."""
NAMED = "/user:"
"""What stands between a caller and the user whom it names, so that no subject may pass for a caller's user."""
NETWORK = 64
"""Bits of an IPv6 address that one subscriber has: who has it has all addresses that begin with it (RFC 6177)."""


@dataclass(frozen=True)
class Caller:
    """Who asks, as far as it is proven. `subject` is None for somebody without credentials."""

    subject: str | None
    tier: str
    tenant: str | None = None


class Access:
    """Checks credentials against the keys of this service and the tokens of one issuer."""

    def __init__(self, options: AccessOptions, keys: KeyFile, tokens: Tokens | None) -> None:
        self._options, self._keys, self._tokens = options, keys, tokens

    async def caller(self, authorization: str | None) -> Caller:
        """Return who sends this Authorization header.

        What is neither one of our keys nor a token, such as the placeholder that OpenAI's clients insist on, counts
        as none.

        Raises:
            ApiError: 401 for bad credentials, or for none where some are needed; 503 when tokens cannot be checked.
        """
        scheme, _, credential = (authorization or "").partition(" ")
        credential = credential.strip() if scheme.lower() == "bearer" else ""
        if credential.startswith(PREFIX):
            return self._by_key(credential)
        if self._tokens and credential.count(".") == 2:
            return await self._tokens.caller(credential)
        if self._options.anonymous:
            return Caller(None, self._options.anonymous_tier)
        if credential:
            raise refused("unknown", "what was sent is neither an API key of this service nor a token that it takes")
        raise refused("missing", "an API key or a token is needed: send it as 'Authorization: Bearer …'")

    def _by_key(self, credential: str) -> Caller:
        try:
            key = self._keys.find(credential)
        except (SettingsError, OSError) as error:
            metrics.DEGRADED.labels("keys").set(1)
            logger.error("no key can be checked: %s", error)
            raise ApiError(503, "keys cannot be checked right now", "auth_unavailable", retry_seconds=5) from None
        metrics.DEGRADED.labels("keys").set(0)
        if key is None:
            raise refused("key", "the API key is not valid here, or is no longer")
        return Caller(f"key:{key.id}", key.tier, key.tenant)


class Tokens:
    """RS256 tokens of one issuer, checked against the keys that it publishes (RFC 7517, RFC 7519).

    The issuer's keys are asked for again when a token names one that is not known, or `trust_seconds` after they were
    had, so that one which the issuer withdrew is refused; at most once in `refresh_seconds`. While the issuer is away
    the known keys go on.
    """

    def __init__(
        self,
        options: JwtOptions,
        tiers: frozenset[str],
        fetch: Callable[[str], Awaitable[dict[str, Any]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._tiers = options, tiers
        self._fetch, self._clock = fetch or fetch_json, clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked: float | None = None
        self._had = 0.0
        self._lock = asyncio.Lock()

    async def caller(self, token: str) -> Caller:
        """Return whom a token stands for.

        Raises:
            ApiError: 401 for a token that is not good, 503 where the issuer's keys were never had.
        """
        claims = self._claims(token, await self._key(token))
        tier = claims.get(self._options.tier_claim, self._options.default_tier)
        if not isinstance(tier, str) or tier not in self._tiers:
            raise refused("tier", f"the token's {self._options.tier_claim} is none of ours")
        if NAMED in claims["sub"]:
            raise refused("token", f"the token is not good: its sub holds '{NAMED}'")
        return Caller(f"jwt:{claims['sub']}", tier, self._tenant(claims))

    def _tenant(self, claims: dict[str, Any]) -> str | None:
        wanted = self._options.tenant_claim
        if wanted is None or claims.get(wanted) is None:
            return None
        try:
            return tenant_name(str(claims[wanted]))
        except ValueError:
            raise refused("tenant", f"the token's {wanted} is no tenant's name") from None

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        wanted = self._options
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=ALGORITHMS,
                audience=wanted.audience,
                issuer=wanted.issuer,
                leeway=wanted.leeway_seconds,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise refused("expired", "the token is past its time; get a new one") from None
        except jwt.PyJWTError as error:
            raise refused("token", f"the token is not good: {error}") from None
        return claims

    async def _key(self, token: str) -> jwt.PyJWK:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise refused("token", f"the token is not good: {error}") from None
        name = str(header.get("kid", ""))
        if not self._trusts(name):
            await self._refresh(name)
        if not self._keys:
            raise ApiError(503, "tokens cannot be checked right now", "auth_unavailable", retry_seconds=5)
        if name not in self._keys:
            raise refused("token", "the token is signed by a key that its issuer does not publish")
        return self._keys[name]

    async def _refresh(self, name: str) -> None:
        async with self._lock:
            if self._trusts(name) or not self._is_due():
                return
            self._asked = self._clock()
            try:
                self._keys = published(await self._fetch(self._options.jwks_url))
                self._had = self._asked
                metrics.DEGRADED.labels("tokens").set(0)
            except (httpx.HTTPError, ValueError, jwt.PyJWTError) as error:
                metrics.DEGRADED.labels("tokens").set(1)
                logger.warning("the keys of %s cannot be had: %s", self._options.jwks_url, error)

    def _trusts(self, name: str) -> bool:
        return name in self._keys and self._clock() - self._had < self._options.trust_seconds

    def _is_due(self) -> bool:
        return self._asked is None or self._clock() - self._asked >= self._options.refresh_seconds


def published(value: dict[str, Any]) -> dict[str, jwt.PyJWK]:
    """Return the RSA signing keys of a key set by their ids; a key of another kind is passed over."""
    rows = [row for row in value.get("keys", []) if row.get("kty") == "RSA" and row.get("use", "sig") == "sig"]
    return {str(row.get("kid", "")): jwt.PyJWK(row, algorithm="RS256") for row in rows}


async def fetch_json(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=5) as client:
        response = await client.get(url)
        response.raise_for_status()
        return dict(response.json())


def address(peer: str, forwarded: str | None, proxies: int) -> str:
    """Return where a request comes from: the peer's address, or what the outermost of our proxies saw.

    Only the last `proxies` entries of X-Forwarded-For are ours to believe; what stands before them anyone can write.
    Of an IPv6 address it is the network, for its subscriber has as many addresses in it as they like.
    """
    seen = _parts(forwarded)
    return _network(seen[-proxies] if 0 < proxies <= len(seen) else peer)


def is_https(scheme: str, forwarded: str | None, proxies: int) -> bool:
    """Tell whether a request came by https, to us or to the outermost of our proxies that says by what.

    Of X-Forwarded-Proto the last `proxies` entries are ours to believe, as of X-Forwarded-For; most proxies write one.
    """
    ours = _parts(forwarded)[-proxies:] if proxies else []
    return scheme == "https" or ours[:1] == ["https"]


def _parts(forwarded: str | None) -> list[str]:
    return [part.strip() for part in (forwarded or "").split(",") if part.strip()]


def _network(told: str) -> str:
    try:
        found = ipaddress.ip_address(told.partition("%")[0])
    except ValueError:
        return told
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped or ipaddress.ip_network((found, NETWORK), strict=False))


def refused(reason: str, message: str) -> ApiError:
    metrics.UNAUTHORISED.labels(reason).inc()
    return ApiError(401, message, "invalid_api_key")
