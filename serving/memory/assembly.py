"""Memory put together as the options ask for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from serving import metrics
from serving.breaker import Breaker
from serving.history import History, SqliteHistory
from serving.memory.context import Memory
from serving.memory.profile import SqliteProfiles
from serving.memory.recall import SqliteRecall
from serving.memory.session import ProcessSessions, RedisSessions, Sessions
from serving.memory.summary import Answering, Summariser
from serving.memory.tokens import PromptTokens
from serving.options import MemoryOptions, Options
from serving.redis_link import redis_link
from serving.release import Release
from serving.sentences import sentences
from thumbwheel.errors import ModelError

logger = logging.getLogger(__name__)


def make_history(options: Options, state: Path) -> History:
    """Return where the options keep conversations.

    Raises:
        SettingsError: it is to be Cassandra, and none is named.
        StoreError: the cluster is away.
    """
    if options.memory.history.store == "cassandra":
        from serving.history_cassandra import connect

        return connect()
    return SqliteHistory(state / "history.db")


def make_memory(
    options: Options,
    release: Release,
    history: History,
    engine: Answering,
    state: Path,
    load: Callable[[], PromptTokens],
    sessions: Sessions | None = None,
) -> Memory:
    """Return the memory that the options ask for; `load` gives what counts tokens, and may raise `ModelError`.

    `sessions` are those of another release that answers beside this one: a conversation may change over.

    Raises:
        SettingsError: sessions are to be in Redis, and no Redis is named.
    """
    wanted = options.memory
    tokens = _tokens(load) if wanted.window.enabled else None
    if wanted.session.enabled and sessions is None:
        sessions = _sessions(wanted, options)
    summariser = None
    if wanted.summary.enabled and tokens and sessions:
        summariser = Summariser(engine, release.model, sessions, tokens.count, release.window, wanted.summary)
    return Memory(
        wanted,
        history,
        SqliteProfiles(state / "memory.db", wanted.profile.preferences),
        SqliteRecall(state / "memory.db", wanted.recall.kept),
        tokens,
        sessions,
        summariser,
        sentences(options.sentences) if wanted.recall.enabled else None,
    )


def _tokens(load: Callable[[], PromptTokens]) -> PromptTokens | None:
    try:
        return load()
    except ModelError as error:
        metrics.DEGRADED.labels("window").set(1)
        logger.warning("prompts cannot be counted, long conversations will be refused: %s", error)
        return None


def _sessions(wanted: MemoryOptions, options: Options) -> Sessions:
    session = wanted.session
    if session.store == "process":
        return ProcessSessions(session.turns, session.conversations, session.idle_seconds)
    return RedisSessions(redis_link("sessions", Breaker(options.breaker)), session.turns, session.idle_seconds)
