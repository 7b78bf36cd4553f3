"""Recall of a user's past exchanges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.memory.recall import SqliteRecall, nearest
from tests.fakes import word_vectors
from tests.serving.test_history import reply


def add(recall: SqliteRecall, number: int, question: str, user: str = "u-1", conversation: str = "c-1") -> None:
    made = replace(
        reply(number, conversation, f"answer {number}"), user=user, created_at=f"2026-01-{number:02}T00:00:00Z"
    )
    recall.add(made, question, word_vectors([question])[0])


def questions(recall: SqliteRecall, asked: str, user: str = "u-1", conversation: str = "c-9") -> list[str]:
    return [e.question for e in recall.near(user, conversation, word_vectors([asked])[0], 2, 0.5)]


def test_the_nearest_of_the_users_other_conversations_come_first(tmp_path: Path) -> None:
    recall = SqliteRecall(tmp_path / "memory.db", 10)
    add(recall, 1, "how do I reset the hub")
    add(recall, 2, "reset the hub please")
    add(recall, 3, "where is my parcel")
    add(recall, 4, "how do I reset the hub", user="u-2")
    add(recall, 5, "how do I reset the hub", conversation="c-9")
    assert questions(recall, "how do I reset the hub") == ["how do I reset the hub", "reset the hub please"]
    assert questions(recall, "something else altogether") == []
    assert questions(recall, "how do I reset the hub", user="u-3") == []


def test_the_oldest_leave_and_a_second_try_takes_the_place_of_the_first(tmp_path: Path) -> None:
    recall = SqliteRecall(tmp_path / "memory.db", 2)
    for number, question in enumerate(["one", "two", "three"], 1):
        add(recall, number, question)
    assert [questions(recall, word) for word in ("one", "two", "three")] == [[], ["two"], ["three"]]
    again = replace(reply(4, text="better"), replaces="m-3")
    recall.add(again, "three", word_vectors(["three"])[0])
    (found,) = recall.near("u-1", "c-9", word_vectors(["three"])[0], 2, 0.9)
    assert found.answer == "better"


def test_what_is_erased_is_gone_from_the_disk(tmp_path: Path) -> None:
    recall = SqliteRecall(tmp_path / "memory.db", 10)
    add(recall, 1, "zebedee's secret")
    add(recall, 2, "another", user="u-2")
    assert recall.erase_user("u-1") == 1
    assert questions(recall, "another", user="u-2") == ["another"]
    assert b"zebedee" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), max_size=8), st.floats(-1, 1))
def test_the_nearest_are_the_highest_cosines_above_the_floor(rows: list[list[float]], floor: float) -> None:
    others = np.array(rows, np.float32).reshape(-1, 3)
    got = nearest(np.array([1, 0, 0], np.float32), others, 3, floor)
    wanted = sorted((float(row[0]) for row in others if row[0] >= floor), reverse=True)[:3]
    assert [cosine for _, cosine in got] == wanted
