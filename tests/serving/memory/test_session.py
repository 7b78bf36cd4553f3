"""Sessions, in the process and in a real Redis, and from the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.breaker import Breaker
from serving.history import Messages, Reply
from serving.memory.session import (
    ProcessSessions,
    RedisSessions,
    Session,
    Sessions,
    Summary,
    continued,
    digest,
    from_history,
    stands,
    transcript,
    trimmed,
    uncovered,
)
from serving.options import BreakerOptions
from serving.redis_link import RedisLink
from tests.serving.test_history import reply as stored
from tests.serving.test_limits import redis_port as redis_port  # the fixture of a real Redis
from thumbwheel.engine import free_port
from thumbwheel.errors import StoreError

PATIENT = BreakerOptions(failures=1, rest_seconds=0.01)


def talk(turns: int, begin: int = 0) -> Messages:
    said = [
        [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]
        for n in range(begin, begin + turns)
    ]
    return [message for turn in said for message in turn]


def reply_to(question: str, number: int, before: Messages, replaces: str | None = None) -> Reply:
    prompt = [*before, {"role": "user", "content": question}]
    return replace(stored(number, text=f"a{number}"), prompt=prompt, replaces=replaces)


def test_a_second_try_replaces_the_newest_answer_and_no_older_one() -> None:
    session = continued(None, [{"role": "user", "content": "q1"}], 0, reply_to("q1", 1, []))
    assert session is not None
    second = continued(session, [], 0, reply_to("q1", 2, [], "m-1"))
    assert second is not None
    assert [m["content"] for m in second.messages] == ["q1", "a2"]
    assert continued(second, [], 0, reply_to("q1", 3, [], "m-1")) is None


def test_the_history_gives_the_whole_conversation_back_though_its_prompts_are_cut() -> None:
    replies = [
        reply_to("q1", 1, talk(1)),
        reply_to("q2", 2, []),
        reply_to("q3", 3, []),
        reply_to("q3", 4, [], "m-3"),
    ]
    assert [m["content"] for m in transcript(replies)] == ["q0", "a0", "q1", "a1", "q2", "a2", "q3", "a4"]
    session = from_history(replies)
    assert session is not None
    assert (session.last, session.first, session.user) == ("m-4", 0, "u-1")
    assert from_history([]) is None


@given(before=st.integers(0, 6), kept=st.integers(1, 6), covered=st.integers(0, 6), edited=st.booleans())
def test_a_summary_stands_for_exactly_what_it_was_made_of(before: int, kept: int, covered: int, edited: bool) -> None:
    whole = [*talk(before + kept), {"role": "user", "content": "newest"}]
    summary = Summary("s", tuple(map(digest, whole[: 2 * covered])))
    messages, first = whole[2 * before :], 2 * before
    is_visible = edited and before < min(covered, before + kept)
    if is_visible:
        messages = [{"role": "user", "content": "another question"}, *messages[1:]]
    fits = covered <= before + kept
    assert stands(summary, messages, first) == (fits and not is_visible)
    if fits:
        assert uncovered(summary, messages, first) == messages[2 * max(0, covered - before) :]


def test_the_newest_turns_are_kept_and_the_others_counted() -> None:
    got = trimmed(Session("u", talk(5), 4, "m"), 2)
    assert (got.messages, got.first) == (talk(2, 3), 10)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_process_forgets_what_is_idle_and_what_is_too_much() -> None:
    clock = Clock()
    sessions = ProcessSessions(5, 2, 60, clock)

    async def run() -> list[bool]:
        for name in ("a", "b"):
            await sessions.keep(name, Session("u", talk(1), 0, "m"))
        await sessions.load("a")
        await sessions.keep("c", Session("u", talk(1), 0, "m"))
        there = [await sessions.load(name) is not None for name in "abc"]
        clock.now += 61
        return [*there, await sessions.load("a") is not None]

    assert asyncio.run(run()) == [True, False, True, False]


async def keeps(make: Callable[[], Sessions]) -> None:
    """Put a store through what both stores must do; a second store over the same place sees it all."""
    sessions, other = make(), make()
    await sessions.keep("c-1", Session("u-1", talk(4), 0, "m-4"))
    await sessions.keep("c-2", Session("u-1", talk(1), 0, "m-1"))
    await sessions.keep("c-3", Session("u-2", talk(1), 0, "m-1"))
    assert await other.load("c-1") == Session("u-1", talk(3, 1), 2, "m-4")
    assert await other.load("c-0") is None
    assert await sessions.summarise("c-1", Summary("short", ("d", "e")))
    await other.keep("c-1", Session("u-1", talk(2), 0, "m-5"))
    assert await sessions.load("c-1") == Session("u-1", talk(2), 0, "m-5", Summary("short", ("d", "e")))
    assert await sessions.erase_user("u-1") == 2
    assert not await other.summarise("c-1", Summary("late", ()))
    assert [await other.load(name) is not None for name in ("c-1", "c-2", "c-3")] == [False, False, True]


def test_sessions_are_kept_in_the_process() -> None:
    one = ProcessSessions(3, 10, 60)
    asyncio.run(keeps(lambda: one))


@pytest.mark.slow
def test_sessions_are_kept_in_redis_for_all_processes(redis_port: int) -> None:
    async def run() -> None:
        await keeps(lambda: RedisSessions(RedisLink(f"redis://127.0.0.1:{redis_port}", Breaker(PATIENT), 30), 3, 60))

    asyncio.run(run())


def test_a_redis_that_is_away_is_an_error_at_once_and_then_a_rest() -> None:
    async def run() -> list[str]:
        breaker = Breaker(BreakerOptions(failures=1, rest_seconds=60))
        sessions, said = RedisSessions(RedisLink(f"redis://127.0.0.1:{free_port()}", breaker), 3, 60), []
        for _ in range(2):
            with pytest.raises(StoreError) as caught:
                await sessions.load("c-1")
            said.append(str(caught.value))
        return said

    first, second = asyncio.run(run())
    assert "Connect" in first or "connect" in first
    assert "left alone" in second
