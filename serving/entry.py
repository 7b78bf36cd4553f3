"""The entry: who asks, on whose behalf, and whether they may ask now."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from starlette.requests import Request
from starlette.responses import Response

from serving import metrics
from serving.access import NAMED, Access, Caller, Tokens, address, is_https
from serving.breaker import Breaker
from serving.keys import key_file
from serving.limits import Limiter, ProcessLimiter, RedisLimiter, Taken
from serving.openai_api import ApiError
from serving.options import LimitOptions, Options, Tier
from serving.shares import Shares
from thumbwheel.errors import SettingsError
from thumbwheel.records import user_hash
from thumbwheel.settings import settings

SESSION = "thumbwheel_session"
SESSION_SECONDS = 365 * 24 * 3600
DRAWN = re.compile(r"[\w-]{32}", re.ASCII)
"""What our cookies hold. Any other is not believed: a session that a client made up, others may make up as well."""
OWN = "own-"
"""What the id of a conversation begins with that somebody with credentials began; any other is `c-`."""


@dataclass(frozen=True)
class Guest:
    """Whom a request stands for: `user` is the hash by which they are known everywhere behind the entry.

    `is_proven` tells whether nobody else could have given that user: credentials or a cookie stand behind them;
    `is_https`, whether the request came by https, so that a cookie need never go another way.
    """

    caller: Caller
    user: str
    new_session: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    is_proven: bool = True
    is_https: bool = False

    @property
    def scope(self) -> str:
        """Return whose answers a guest may share: a caller's own, or those of everybody without credentials."""
        return self.caller.subject or "public"

    def new_conversation(self) -> str:
        """Return an id that nobody can guess, and that tells whether credentials are needed to see what it names."""
        return f"{OWN if self.caller.subject else 'c-'}{uuid.uuid4().hex}"

    def may_see(self, conversation: str, owner: str) -> bool:
        """Tell whether a conversation's reply, given to `owner`, is theirs.

        Without credentials, knowing the unguessable id is enough for what somebody without credentials began, and for
        nothing else.
        """
        return not conversation.startswith(OWN) if self.caller.subject is None else self.user == owner

    def mark(self, response: Response) -> Response:
        """Give a response the headers and, to a browser seen for the first time, the cookie of this guest."""
        response.headers.update(self.headers)
        if self.new_session:
            response.set_cookie(
                SESSION, self.new_session, SESSION_SECONDS, httponly=True, samesite="lax", secure=self.is_https
            )
        return response


class Entry:
    """What every request passes first."""

    def __init__(
        self, access: Access, limiter: Limiter, shares: Shares, tiers: dict[str, Tier], proxies: int, key: bytes
    ) -> None:
        self._access, self._limiter, self._shares, self._tiers = access, limiter, shares, tiers
        self._proxies, self._key = proxies, key

    async def guest(self, request: Request) -> Guest:
        """Return who asks.

        What sends a placeholder for a key is an application. Its client may bring our cookies back, as OpenAI's does,
        and all its users would be one by them: so it has no session, and who asks is somebody new each time.

        Raises:
            ApiError: 401 or 503, see `Access.caller`.
        """
        credentials = request.headers.get("Authorization", "")
        caller = await self._access.caller(credentials)
        if caller.subject is not None:
            return Guest(caller, self._hash(caller.subject))
        if credentials.lower().startswith("bearer "):  # a browser's may be Basic, and a proxy's before us
            return Guest(caller, self._hash(f"session:{secrets.token_urlsafe(24)}"), is_proven=False)
        known = request.cookies.get(SESSION, "")
        is_ours = DRAWN.fullmatch(known) is not None
        session = known if is_ours else secrets.token_urlsafe(24)
        new, came = None if is_ours else session, request.headers.get("X-Forwarded-Proto")
        by_https = is_https(request.url.scheme, came, self._proxies)
        return Guest(caller, self._hash(f"session:{session}"), new, is_https=by_https)

    async def admit(self, request: Request) -> Guest:
        """Return who asks, after taking a token from their bucket.

        Raises:
            ApiError: 401 or 503 as `guest`; 429 with Retry-After when the bucket is empty.
        """
        guest = await self.guest(request)
        name, tier = guest.caller.tier, self._tiers.get(guest.caller.tier)
        if tier is None:
            raise ApiError(401, f"tier '{name}' is no longer offered; ask for another key", "invalid_api_key")
        taken = await self._limiter.take(self._limited(request, guest), tier)
        if not taken.allowed:
            metrics.LIMITED.labels(name, "rate").inc()
            message = f"too many requests: {tier.per_second:g} a second in the long run, {tier.burst} at once"
            raise ApiError(429, message, "rate_limit_exceeded", retry_seconds=taken.retry_seconds)
        return replace(guest, headers=rate_headers(tier, taken))

    def share(self, request: Request, guest: Guest) -> AbstractContextManager[None]:
        """Return what an admitted guest holds of their caller's share for as long as they are answered."""
        name = guest.caller.tier
        return self._shares.one(self._limited(request, guest), name, self._tiers[name])

    def named(self, guest: Guest, user: str | None) -> Guest:
        """Return the guest as the named user of an application: of a caller's own, or of nobody's."""
        if user is None:
            return guest
        hashed = self._hash(f"{guest.caller.subject}{NAMED}{user}" if guest.caller.subject else f"user:{user}")
        return replace(guest, user=hashed, new_session=None, is_proven=guest.caller.subject is not None)

    def is_operator(self, body: bytes, proof: str) -> bool:
        """Tell whether who sends this body holds the users' key, which nobody has but who runs this service."""
        ours = hmac.new(self._key, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(ours.encode(), proof.encode("utf-8", "surrogatepass"))

    def _limited(self, request: Request, guest: Guest) -> str:
        """Return whose limits a request counts to: its caller's, or of somebody without credentials their address'."""
        if guest.caller.subject is not None:
            return guest.caller.subject
        peer = request.client.host if request.client else "unknown"
        return f"address:{address(peer, request.headers.get('X-Forwarded-For'), self._proxies)}"

    def _hash(self, subject: str) -> str:
        return user_hash(subject, self._key)


def rate_headers(tier: Tier, taken: Taken) -> dict[str, str]:
    """Return what OpenAI's clients read of a rate limit."""
    return {
        "x-ratelimit-limit-requests": str(tier.burst),
        "x-ratelimit-remaining-requests": str(taken.remaining),
        "x-ratelimit-reset-requests": f"{taken.full_seconds:.3f}s",
    }


def make_entry(options: Options, key: bytes) -> Entry:
    """Return the entry that the options ask for.

    Raises:
        SettingsError: the limits are to be in Redis, and no Redis is named.
    """
    wanted, shares = options.access, Shares(options.admission.retry_seconds)
    tokens = Tokens(wanted.jwt, frozenset(options.limits.tiers)) if wanted.jwt else None
    access = Access(wanted, key_file(), tokens)
    return Entry(access, _limiter(options.limits, options), shares, options.limits.tiers, wanted.proxies, key)


def _limiter(limits: LimitOptions, options: Options) -> Limiter:
    if limits.store == "process":
        return ProcessLimiter()
    if settings().redis_url is None:
        raise SettingsError("serving.yaml keeps limits in Redis: set THUMBWHEEL_REDIS_URL, or limits.store: process.")
    return RedisLimiter(str(settings().redis_url), Breaker(options.breaker))
