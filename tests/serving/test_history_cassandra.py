"""The history in Cassandra, by the driver's own statements over a session that stands in for a cluster."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from serving.history import Reply
from serving.history_cassandra import CassandraHistory, connect
from tests.serving.cassandra import SCHEMA, FakeSession, tables
from tests.serving.test_history import reply
from thumbwheel.errors import SettingsError, StoreError
from thumbwheel.settings import settings


def test_the_schema_holds_every_field_of_a_reply() -> None:
    assert {field.name for field in fields(Reply)} | {"saved_at"} == set(tables(SCHEMA)["replies"].columns)


def test_a_reply_is_found_again_byte_for_byte() -> None:
    session = FakeSession()
    CassandraHistory(session).save(reply())
    assert CassandraHistory(session).find("m-1") == reply()
    assert CassandraHistory(session).find("m-2") is None


def test_a_conversation_holds_its_own_replies_oldest_first() -> None:
    history = CassandraHistory(FakeSession())
    for number, conversation in [(9, "c-2"), (3, "c-1"), (5, "c-2"), (1, "c-2")]:
        history.save(reply(number, conversation))
    assert [r.message_id for r in history.conversation("c-2")] == ["m-9", "m-5", "m-1"]
    assert history.conversation("c-3") == []


def test_a_user_is_erased_with_all_their_conversations_and_nobody_else() -> None:
    session = FakeSession()
    history = CassandraHistory(session)
    for number, (conversation, user) in enumerate([("c-1", "u-1"), ("c-2", "u-1"), ("c-1", "u-1"), ("c-3", "u-2")]):
        history.save(replace(reply(number, conversation), user=user))
    assert history.erase_user("u-1") == 3
    assert [len(history.conversation(name)) for name in ("c-1", "c-2", "c-3")] == [0, 0, 1]
    assert [history.find(f"m-{number}") is None for number in range(4)] == [True, True, True, False]
    assert "u-1" not in str({name: table.rows for name, table in session.tables.items()})
    assert history.erase_user("u-1") == 0


def test_a_cluster_that_is_away_is_a_store_error() -> None:
    session = FakeSession()
    history = CassandraHistory(session)
    history.save(reply())
    session.down = True
    for call in (lambda: history.save(reply(2)), lambda: history.find("m-1"), lambda: history.erase_user("u-1")):
        with pytest.raises(StoreError, match="nobody answers"):
            call()


def test_history_in_cassandra_wants_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THUMBWHEEL_CASSANDRA_HOSTS", raising=False)
    settings.cache_clear()
    with pytest.raises(SettingsError, match="THUMBWHEEL_CASSANDRA_HOSTS"):
        connect()


def test_a_cluster_that_nobody_listens_for_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBWHEEL_CASSANDRA_HOSTS", "127.0.0.1")
    settings.cache_clear()
    with pytest.raises(StoreError, match="Cassandra"):
        connect()
    settings.cache_clear()
