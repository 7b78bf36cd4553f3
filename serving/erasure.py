"""Look at, or erase, all that the chat service keeps of users, by their hashes; `stages.forget` asks it to.

    echo '{"users": ["u-…"], "items": [], "erase": false}' | python -m serving.erasure

What a running service holds in its own memory is out of reach from here; see `serving.personal.erasures`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.breaker import Breaker
from serving.cache.answers import RedisAnswers, user_tag
from serving.history import Reply
from serving.memory.assembly import make_history
from serving.memory.profile import SqliteProfiles
from serving.memory.recall import SqliteRecall
from serving.memory.session import RedisSessions
from serving.options import Options, load_options
from serving.redis_link import redis_link
from serving.review.verdicts import Verdicts
from serving.tools.arguments import text_of
from thumbwheel.command import run
from thumbwheel.settings import settings


def look(users: Sequence[str], items: Sequence[str], options: Options, state: Path) -> dict[str, Any]:
    """Return how many records there are of users, and the ids and texts by which they may be found elsewhere.

    `items` are the ids of what of theirs may wait in the review queue.
    """
    history, memory = make_history(options, state), state / "memory.db"
    replies = [reply for user in users for reply in history.of_user(user)]
    profiles, recall = SqliteProfiles(memory, 1), SqliteRecall(memory, 1)
    counts = {
        "history": len(replies),
        "profile": sum(map(profiles.count, users)),
        "recall": sum(map(recall.count, users)),
        "review": Verdicts(state / "review.db").count(set(items), set(users)),
    }
    return {
        "counts": counts,
        "conversations": sorted({reply.conversation_id for reply in replies}),
        "messages": sorted({reply.message_id for reply in replies}),
        "texts": sorted({text for reply in replies for text in _texts(reply)}),
    }


async def erase(users: Sequence[str], items: Sequence[str], options: Options, state: Path) -> dict[str, Any]:
    """Erase users from every store that outlives a process; return how many records went.

    Raises:
        StoreError: a store is away; what the others held is gone, and it is to be asked again.
    """
    counts: Counter[str] = Counter(review=Verdicts(state / "review.db").erase(items, users))
    history, memory = make_history(options, state), state / "memory.db"
    profiles, recall = SqliteProfiles(memory, 1), SqliteRecall(memory, 1)
    for user in users:
        counts.update(history=history.erase_user(user), profile=profiles.erase_user(user))
        counts.update(recall=recall.erase_user(user))
        counts.update(await _erase_shared(user, options))
    return {"counts": dict(counts)}


async def _erase_shared(user: str, options: Options) -> dict[str, int]:
    """Erase a user from what processes share in Redis, as far as they do."""
    gone, session, cache = {}, options.memory.session, options.cache
    if session.enabled and session.store == "redis":
        link = redis_link("sessions", Breaker(options.breaker))
        gone["sessions"] = await RedisSessions(link, session.turns, session.idle_seconds).erase_user(user)
        await link.close()
    if cache.enabled and cache.store == "redis":
        link = redis_link("cache", Breaker(options.breaker))
        gone["cache"] = await RedisAnswers(link, cache.entries, cache.ttl_seconds).purge(user_tag(user))
        await link.close()
    return gone


def _texts(reply: Reply) -> list[str]:
    return [*map(text_of, reply.said()), text_of(reply.message())]


def main() -> None:
    wish, options, state = json.load(sys.stdin), load_options(), settings().state_dir
    told = (wish["users"], wish["items"], options, state)
    print(json.dumps(asyncio.run(erase(*told)) if wish["erase"] else look(*told)))


if __name__ == "__main__":
    run(main)
