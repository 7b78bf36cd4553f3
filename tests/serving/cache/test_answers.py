"""Cached answers, in the process and in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.breaker import Breaker
from serving.cache.answers import Answer, Answers, ProcessAnswers, RedisAnswers, text_tag, user_tag
from serving.cache.index import NearestQuestions
from serving.options import BreakerOptions
from serving.redis_link import RedisLink
from tests.serving.test_limits import redis_port as redis_port  # the fixture of a real Redis

PATIENT = BreakerOptions(failures=1, rest_seconds=0.01)
ANSWER = Answer("What?", "That \ud83c.", "stop", 7, 6, "chat/3", "u-1")
EAST, NORTH = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


async def held(answers: Answers, partition: str, vector: np.ndarray = EAST) -> list[Answer]:
    """Return the answers of a partition near a vector, nearest first."""
    await answers.refresh()
    names = [name for name, _ in answers.index.near(partition, vector, 0.9)]
    found = [await answers.get(name) for name in names]
    return [answer for answer in found if answer is not None]


async def keeps(make: Callable[[], Answers]) -> None:
    """Put a store through what both stores must do; a second store over the same place sees it all."""
    answers, other = make(), make()
    theirs = replace(ANSWER, user="u-2", text="Theirs.")
    await answers.add("p", EAST, ANSWER)
    await answers.add("q", EAST, theirs)
    await other.add("p", NORTH, replace(ANSWER, model="chat/2", text="Old."))
    assert await held(other, "p") == [ANSWER]
    assert await held(answers, "p", NORTH) == [replace(ANSWER, model="chat/2", text="Old.")]
    assert await held(answers, "r") == []
    assert await answers.question(next(answers.index.near("q", EAST, 0.9))[0]) == "What?"
    assert await other.purge_other_models("chat/3") == 1
    assert await held(answers, "p", NORTH) == []
    await other.add("s", EAST, ANSWER)
    assert await answers.purge(text_tag("chat/3", ANSWER.text)) == 2
    assert await held(other, "p") == await held(other, "s") == []
    assert await answers.purge(user_tag("u-1")) == 0
    assert await answers.purge(user_tag("u-2")) == 1
    assert await held(other, "q") == []


def test_answers_are_kept_and_purged_in_the_process() -> None:
    one = ProcessAnswers(10, 60)
    asyncio.run(keeps(lambda: one))


@pytest.mark.slow
def test_answers_are_kept_and_purged_in_redis_for_all_processes(redis_port: int) -> None:
    async def run() -> None:
        await keeps(lambda: RedisAnswers(RedisLink(f"redis://127.0.0.1:{redis_port}", Breaker(PATIENT), 30), 10, 60))

    asyncio.run(run())


@pytest.mark.slow
def test_in_redis_the_time_of_an_answer_ends_and_nothing_of_it_is_left(redis_port: int) -> None:
    async def run() -> tuple[list[Answer], list[bytes]]:
        link = RedisLink(f"redis://127.0.0.1:{redis_port}", Breaker(PATIENT), 30)
        lasting, brief = RedisAnswers(link, 3, 600), RedisAnswers(link, 3, 0.2)
        for number in range(5):
            await lasting.add("p", EAST, replace(ANSWER, question=f"What {number}?"))
        assert len(await held(lasting, "p")) == 3
        assert await link.redis.xlen("thumbwheel:cache:log") == 3
        await asyncio.sleep(0.5)  # longer than what is brief may last, however slow the machine is
        await brief.add("p", EAST, replace(ANSWER, question="What next?"))
        asked = [entry[b"question"] for _, entry in await link.redis.xrange("thumbwheel:cache:log")]
        assert asked == [b"What next?"]
        await link.redis.flushall()
        await brief.add("p", EAST, ANSWER)
        while await link.redis.keys("*"):
            await asyncio.sleep(0.05)
        return await held(brief, "p"), await link.redis.keys("*")

    assert asyncio.run(run()) == ([], [])


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_in_the_process_the_oldest_leave_and_the_time_of_an_answer_ends() -> None:
    clock = Clock()
    answers = ProcessAnswers(2, 60, clock)

    async def run() -> list[list[str]]:
        for number in range(3):
            await answers.add("p", EAST, replace(ANSWER, text=str(number)))
            clock.now += 20
        kept = sorted(answer.text for answer in await held(answers, "p"))
        clock.now += 25
        return [kept, [answer.text for answer in await held(answers, "p")]]

    assert asyncio.run(run()) == [["1", "2"], ["2"]]
    assert len(answers.index) == 1


Move = tuple[str, str, int]
MOVES = st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.sampled_from("pqr"), st.integers(0, 11)), max_size=60)


@given(MOVES)
def test_the_index_holds_what_a_plain_list_would(moves: list[Move]) -> None:
    index, plain, count = NearestQuestions(6), list[tuple[str, str, float]](), 0
    for act, partition, number in moves:
        angle = number / 10
        if act == "add":
            count += 1
            index.add(partition, str(count), np.array([np.cos(angle), np.sin(angle)], np.float32))
            plain = [*plain, (partition, str(count), angle)][-6:]
        elif plain:
            name = plain[number % len(plain)][1]
            index.remove(name)
            plain = [row for row in plain if row[1] != name]
        for wanted in "pqr":
            near = {name for name, _ in index.near(wanted, EAST, 0.8)}
            assert near == {name for p, name, a in plain if p == wanted and np.cos(a) >= 0.8}
        assert len(index) == len(plain)


def test_the_nearest_question_comes_first() -> None:
    index = NearestQuestions(10)
    for name, angle in (("far", 0.3), ("near", 0.1), ("same", 0.0)):
        index.add("p", name, np.array([np.cos(angle), np.sin(angle)], np.float32))
    assert [name for name, _ in index.near("p", EAST, 0.9)] == ["same", "near", "far"]
