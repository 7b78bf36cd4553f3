"""What is a user's and what is not, in rows and in bytes."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.forgetting import files
from stages.forgetting.files import Search
from stages.forgetting.identity import hashes_of
from stages.forgetting.traces import LEAST, Traces, exchange, forget_common, theirs
from tests.events import feedback_event
from thumbwheel.records import FEEDBACK, PREFERENCE, to_table, user_hash
from thumbwheel.settings import settings

LINE = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" "), min_size=LEAST)
WRITTEN = [str, html.escape, json.dumps, lambda text: json.dumps(text, ensure_ascii=False), repr]


def traces(**more: Any) -> Traces:
    return Traces("ann@mail.example", frozenset({"u-" + "a" * 16}), **more)


@given(LINE.filter(lambda line: len(line.strip()) >= LEAST), st.sampled_from(WRITTEN))
def test_what_they_said_is_found_however_it_was_written(line: str, written: Any) -> None:
    search = Search(traces(texts={line}))
    assert search.finds(f"x {written(line)} y".encode())


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"by ann@mail.example at noon", True),
        (b"by joann@mail.example at noon", False),
        (b"user u-aaaaaaaaaaaaaaaa: up", True),
        (b"user u-aaaaaaaaaaaaaaaab: up", False),
    ],
)
def test_a_name_is_found_as_a_word_only(content: bytes, found: bool) -> None:
    assert Search(traces()).finds(content) is found


def test_a_short_name_counts_only_where_it_stands_for_a_user() -> None:
    search = Search(Traces("ann", frozenset()))
    assert not search.finds(b"Dear ann, thanks")
    assert search.finds(b'{"user": "ann"}')


@given(st.lists(st.tuples(st.sampled_from(["me", "you"]), st.sampled_from(["c-1", "c-2"])), max_size=8))
def test_events_are_theirs_by_user_or_by_conversation_and_no_others_are(said: list[tuple[str, str]]) -> None:
    rows = [feedback_event(user=user, conversation_id=place, message_id=f"{place}-m") for user, place in said]
    mine = Traces("me", frozenset({"me"}), conversations={place for user, place in said if user == "me"})
    expected = [user == "me" or place in mine.conversations for user, place in said]
    assert theirs(to_table(rows, FEEDBACK), mine).to_pylist() == expected


def test_another_users_pair_of_their_exchange_is_theirs_and_of_the_same_prompt_alone_is_not() -> None:
    prompt = [{"role": "user", "content": "How long do the batteries last?"}]
    pairs = [{"id": str(n), "prompt": prompt, "rejected": said, "user": "you"} for n, said in enumerate(("A.", "B."))]
    mine = traces(replies={"A."}, exchanges={exchange(prompt, "A.")})
    assert theirs(to_table(pairs, PREFERENCE), mine).to_pylist() == [True, False]


def test_what_others_say_as_well_is_no_trace() -> None:
    mine = traces(texts={"How do I reset it?", "My own words alone."})
    forget_common(mine, pa.table({"turns": pa.array([["How do I reset it?"]]), "n": [1]}))
    assert mine.texts == {"My own words alone."}


def test_a_struck_log_keeps_its_length_and_its_other_lines(workspace: Path) -> None:
    log = settings().state_dir / "logs" / "chat.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"one\r\nby ann@mail.example\r\nthree")
    assert [found.number for found in files.strike(traces(), True)] == [1]
    assert log.read_bytes() == b"one\r\n-------------------\r\nthree"


def test_a_user_of_an_api_key_is_known_by_what_the_entry_hashes(workspace: Path) -> None:
    (workspace / "params.yaml").write_text("ingest: {user_salt: salt}\n")
    (settings().state_dir / "user.key").write_bytes(b"key")
    (settings().state_dir / "api_keys.json").write_text('[{"id": "k1"}]')
    known = {user_hash(subject, b"key") for subject in ("user:ann", "key:k1/user:ann", "jwt:ann")}
    assert known | {user_hash("ann", b"salt")} <= hashes_of("ann")
    assert hashes_of("u-" + "0" * 16) == {"u-" + "0" * 16}
