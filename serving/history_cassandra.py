"""Conversation history in Cassandra, behind the same calls as the one in SQLite; its schema is `history.cql`.

A reply is three rows, written in one logged batch: all of them come, or none. Reading a conversation reads one
partition; finding a message takes two look-ups by key; nothing is ever scanned.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from serving.history import Reply, reply_of, row_of
from thumbwheel.errors import SettingsError, StoreError
from thumbwheel.settings import settings

NAMES = tuple(field.name for field in fields(Reply))
INSERT_REPLY = f"INSERT INTO replies ({', '.join(NAMES)}, saved_at) VALUES ({', '.join('?' * (len(NAMES) + 1))})"
INSERT_PLACE = "INSERT INTO places (message_id, conversation_id, saved_at) VALUES (?, ?, ?)"
INSERT_CONVERSATION = "INSERT INTO conversations (user, conversation_id) VALUES (?, ?)"
SELECT_PLACE = "SELECT conversation_id, saved_at FROM places WHERE message_id = ?"
SELECT_REPLY = f"SELECT {', '.join(NAMES)} FROM replies WHERE conversation_id = ? AND saved_at = ?"
SELECT_REPLIES = f"SELECT {', '.join(NAMES)} FROM replies WHERE conversation_id = ?"
SELECT_CONVERSATIONS = "SELECT conversation_id FROM conversations WHERE user = ?"
DELETE_PLACE = "DELETE FROM places WHERE message_id = ?"
DELETE_REPLIES = "DELETE FROM replies WHERE conversation_id = ?"
DELETE_CONVERSATIONS = "DELETE FROM conversations WHERE user = ?"

Step = tuple[str, tuple[Any, ...]]


class CassandraHistory:
    """History by a session of the DataStax driver, already in its keyspace."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._prepared: dict[str, Any] = {}

    def save(self, reply: Reply) -> None:
        """Store a reply; acknowledged by as many replicas as the session's consistency asks for.

        Raises:
            StoreError: the cluster is away, or refuses.
        """
        saved_at = uuid.uuid1()
        row = row_of(reply)
        self._batch(
            (INSERT_REPLY, (*(row[name] for name in NAMES), saved_at)),
            (INSERT_PLACE, (reply.message_id, reply.conversation_id, saved_at)),
            (INSERT_CONVERSATION, (reply.user, reply.conversation_id)),
        )

    def find(self, message_id: str) -> Reply | None:
        """Return one reply, or None; raises as `save` does."""
        for place in self._rows(SELECT_PLACE, message_id):
            for row in self._rows(SELECT_REPLY, *place):
                return _reply(row)
        return None

    def conversation(self, conversation_id: str) -> list[Reply]:
        """Return the replies of a conversation, oldest first; empty where there is none. Raises as `save` does."""
        return [_reply(row) for row in self._rows(SELECT_REPLIES, conversation_id)]

    def of_user(self, user: str) -> list[Reply]:
        """Return all replies of a user's conversations, whoever else wrote in them. Raises as `save` does."""
        names = [name for (name,) in self._rows(SELECT_CONVERSATIONS, user)]
        return [reply for name in names for reply in self.conversation(name)]

    def erase_user(self, user: str) -> int:
        """Erase a user's conversations, whoever else wrote in them; return how many replies there were.

        The list of them goes last, so that an erasure that broke off is made whole by another. Raises as `save` does.
        """
        gone = 0
        for (conversation_id,) in self._rows(SELECT_CONVERSATIONS, user):
            replies = self.conversation(conversation_id)
            places: list[Step] = [(DELETE_PLACE, (reply.message_id,)) for reply in replies]
            self._batch(*places, (DELETE_REPLIES, (conversation_id,)))
            gone += len(replies)
        self._batch((DELETE_CONVERSATIONS, (user,)))
        return gone

    def close(self) -> None:
        self._session.cluster.shutdown()

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with _reachable():
            return [tuple(row) for row in self._session.execute(self._statement(query), values)]

    def _batch(self, *steps: Step) -> None:
        from cassandra.query import BatchStatement

        with _reachable():
            batch = BatchStatement()
            for query, values in steps:
                batch.add(self._statement(query), values)
            self._session.execute(batch)

    def _statement(self, query: str) -> Any:
        if query not in self._prepared:
            self._prepared[query] = self._session.prepare(query)
        return self._prepared[query]


def connect() -> CassandraHistory:
    """Return the history of the cluster that the settings name.

    Raises:
        SettingsError: they name none.
        StoreError: it is away.
    """
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
    from cassandra.query import tuple_factory

    place = settings()
    if place.cassandra_hosts is None:
        raise SettingsError("history is to be in Cassandra: set THUMBWHEEL_CASSANDRA_HOSTS, or store: sqlite.")
    password = place.cassandra_password
    auth = PlainTextAuthProvider(place.cassandra_user or "", password.get_secret_value()) if password else None
    policy = TokenAwarePolicy(DCAwareRoundRobinPolicy(place.cassandra_datacenter or ""))
    profile = ExecutionProfile(load_balancing_policy=policy, row_factory=tuple_factory, request_timeout=5)
    with _reachable():
        cluster = Cluster(
            _hosts(place.cassandra_hosts), auth_provider=auth, execution_profiles={EXEC_PROFILE_DEFAULT: profile}
        )
        return CassandraHistory(cluster.connect(place.cassandra_keyspace))


def _hosts(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _reply(row: Iterable[Any]) -> Reply:
    return reply_of(dict(zip(NAMES, row, strict=True)))


@contextmanager
def _reachable() -> Iterator[None]:
    from cassandra import DriverException
    from cassandra.cluster import NoHostAvailable

    try:
        yield
    except (DriverException, NoHostAvailable, OSError) as error:
        raise StoreError(f"Cassandra: {error}") from None
