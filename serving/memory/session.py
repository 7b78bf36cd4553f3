"""The session: the newest turns of a conversation, so that a client need send its newest message alone.

A cache over the history: what it lost is read from there again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from serving.history import FILTERED, Message, Messages, Reply
from serving.memory.window import flat, turns_of
from serving.redis_link import RedisLink


@dataclass(frozen=True)
class Summary:
    """What the oldest messages of a conversation say, in short; `covered` are their digests, oldest first."""

    text: str
    covered: tuple[str, ...]


@dataclass(frozen=True)
class Session:
    """A conversation as far as it is kept.

    `first` counts the messages before the first one kept; `last` is the id of the newest reply, the one that a second
    try may replace.
    """

    user: str
    messages: Messages
    first: int
    last: str
    summary: Summary | None = None


class Sessions(Protocol):
    """Where sessions are kept; each call may raise `StoreError`."""

    async def load(self, conversation: str) -> Session | None: ...

    async def keep(self, conversation: str, session: Session) -> None:
        """Keep the turns; the summary that is there stays."""

    async def summarise(self, conversation: str, summary: Summary) -> bool:
        """Keep a summary, if the conversation is still there."""

    async def erase_user(self, user: str) -> int: ...


def digest(message: Message) -> str:
    """Return 16 hex digits by which a message is known again."""
    more = {name: value for name, value in message.items() if name not in ("role", "content")}
    said = f"{message['role']}\n{message['content']}{json.dumps(more, sort_keys=True) if more else ''}"
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def stands(summary: Summary, messages: Messages, first: int) -> bool:
    """Tell whether a summary still speaks of these messages, of which `first` stood before the first one."""
    known = summary.covered[first:]
    return len(known) < len(messages) and all(digest(m) == d for m, d in zip(messages, known, strict=False))


def uncovered(summary: Summary, messages: Messages, first: int) -> Messages:
    """Return the messages behind those that a summary covers."""
    return messages[max(0, len(summary.covered) - first) :]


def trimmed(session: Session, turns: int) -> Session:
    """Return a session with its newest turns alone."""
    kept = flat(turns_of(session.messages)[-turns:])
    return replace(session, messages=kept, first=session.first + len(session.messages) - len(kept))


def continued(session: Session | None, whole: Messages, first: int, reply: Reply) -> Session | None:
    """Return a session after a reply to `whole`; None where the reply replaced one that is not its newest."""
    answer = reply.message()
    if reply.replaces is None:
        return Session(reply.user, [*whole, answer], first, reply.message_id)
    if session is None or session.last != reply.replaces:
        return None
    return replace(session, messages=[*session.messages[:-1], answer], last=reply.message_id)


def from_history(replies: Sequence[Reply]) -> Session | None:
    """Return the session that led to these replies, oldest first; None without any."""
    standing = [reply for reply in _standing(replies) if reply.finish != FILTERED]
    return Session(standing[0].user, transcript(standing), 0, standing[-1].message_id) if standing else None


def transcript(replies: Sequence[Reply]) -> Messages:
    """Return the whole conversation that led to these replies, oldest first, with what has long left the window."""
    standing = _standing(replies)
    messages = standing[0].said()[: newest_at(standing[0].said())] if standing else []
    for reply in standing:
        said = reply.said()
        before = settled(messages) if said[-1]["role"] == "user" else messages
        messages = [*before, *said[newest_at(said) :], reply.message()]
    return messages


def newest_at(messages: Messages) -> int:
    """Return the place from which on messages are new: the last one, or the results of calls that end them."""
    place = len(messages) - 1
    while place > 0 and messages[place]["role"] == "tool" == messages[place - 1]["role"]:
        place -= 1
    return place


def settled(messages: Messages) -> Messages:
    """Return messages without calls at their end, which the user went on without waiting for."""
    if not messages or "tool_calls" not in messages[-1]:
        return messages
    last: Message = {"role": "assistant", "content": messages[-1]["content"]}
    return [*messages[:-1], last] if last["content"].strip() else messages[:-1]


def _standing(replies: Sequence[Reply]) -> list[Reply]:
    """Return the replies that no second try replaced, nor a third at the same first one."""
    standing: list[Reply] = []
    first: dict[str, str] = {}
    for reply in replies:
        first[reply.message_id] = first.get(reply.replaces or "", reply.message_id)
        places = [n for n, other in enumerate(standing) if first[other.message_id] == first[reply.message_id]]
        standing = [*standing[: places[0]], reply] if places else [*standing, reply]
    return standing


class ProcessSessions:
    """Sessions of this process, those used last."""

    def __init__(self, turns: int, most: int, idle_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._turns, self._most, self._idle, self._clock = turns, most, idle_seconds, clock
        self._kept: OrderedDict[str, tuple[float, Session]] = OrderedDict()

    async def load(self, conversation: str) -> Session | None:
        used, session = self._kept.get(conversation, (0.0, None))
        if session is None or self._clock() - used > self._idle:
            self._kept.pop(conversation, None)
            return None
        self._use(conversation, session)
        return session

    async def keep(self, conversation: str, session: Session) -> None:
        _, known = self._kept.get(conversation, (0.0, None))
        self._use(conversation, replace(trimmed(session, self._turns), summary=known.summary if known else None))
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    async def summarise(self, conversation: str, summary: Summary) -> bool:
        session = await self.load(conversation)
        if session is not None:
            self._use(conversation, replace(session, summary=summary))
        return session is not None

    async def erase_user(self, user: str) -> int:
        theirs = [name for name, (_, session) in self._kept.items() if session.user == user]
        for name in theirs:
            del self._kept[name]
        return len(theirs)

    def _use(self, conversation: str, session: Session) -> None:
        self._kept[conversation] = (self._clock(), session)
        self._kept.move_to_end(conversation)


PREFIX = "thumbwheel:session"
SUMMARISE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'summary', ARGV[1])
return 1
"""
"""A summary that comes after its conversation was erased must not bring it back."""


class RedisSessions:
    """Sessions that all processes share, each a hash of turns and summary."""

    def __init__(self, link: RedisLink, turns: int, idle_seconds: float) -> None:
        self._link, self._turns, self._idle = link, turns, int(idle_seconds)

    async def load(self, conversation: str) -> Session | None:
        found: dict[bytes, bytes] = await self._link.call(lambda redis: redis.hgetall(_key(conversation)))
        return _session(found) if b"turns" in found else None

    async def keep(self, conversation: str, session: Session) -> None:
        turns = json.dumps({**asdict(trimmed(session, self._turns)), "summary": None})

        async def work(redis: Any) -> None:
            theirs = f"{PREFIX}s-of:{session.user}"
            async with redis.pipeline() as pipe:
                pipe.hset(_key(conversation), "turns", turns).expire(_key(conversation), self._idle)
                pipe.sadd(theirs, conversation).expire(theirs, self._idle)
                await pipe.execute()

        await self._link.call(work)

    async def summarise(self, conversation: str, summary: Summary) -> bool:
        value = json.dumps(asdict(summary))
        return bool(await self._link.call(lambda redis: redis.eval(SUMMARISE, 1, _key(conversation), value)))

    async def erase_user(self, user: str) -> int:
        async def work(redis: Any) -> int:
            theirs = f"{PREFIX}s-of:{user}"
            names = [name.decode() for name in await redis.smembers(theirs)]
            gone = await redis.delete(*map(_key, names)) if names else 0
            await redis.delete(theirs)
            return int(gone)

        return await self._link.call(work)


def _key(conversation: str) -> str:
    return f"{PREFIX}:{conversation}"


def _session(found: dict[bytes, bytes]) -> Session:
    summary = json.loads(found.get(b"summary", b"null"))
    kept = Summary(summary["text"], tuple(summary["covered"])) if summary else None
    return Session(**{**json.loads(found[b"turns"]), "summary": kept})
